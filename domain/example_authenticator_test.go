package domain_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra/password"
)

const anasPassword = "correct horse battery staple"

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// signUp returns an authenticator, on a repository in memory and with hashes that cost nothing, and an account that has a password. An
// application has a store of infra/postgres or infra/sqlite, and the hasher of password.New.
func signUp(now func() time.Time) (*domain.Authenticator, domain.Repository, *domain.User) {
	repository := domaintest.NewRepository(now)
	auth, err := domain.NewAuthenticator(repository, password.Fast(), domain.AuthenticationPolicy{})
	check(err)
	ana, err := domain.NewUser(registration(auth), repository.Now())
	check(err)
	check(repository.Create(context.Background(), ana))
	return auth, repository, ana
}

func registration(auth *domain.Authenticator) domain.Registration {
	email, err := domain.ParseEmail("Ana@Example.org")
	check(err)
	username, err := domain.ParseUsername("ana")
	check(err)
	hash, err := auth.HashPassword(context.Background(), anasPassword, email.String(), username.String())
	check(err)
	return domain.Registration{Email: email, Username: username, PasswordHash: hash, FirstName: "Ana"}
}

func ExampleNewAuthenticator() {
	repository := domaintest.NewRepository(nil) // in an application a store, of infra/postgres or infra/sqlite
	auth, err := domain.NewAuthenticator(repository, password.Fast(), domain.AuthenticationPolicy{
		Password: domain.PasswordPolicy{MinLength: 15},                        // where the password is the only factor
		Lock:     domain.LockPolicy{Attempts: 10, Duration: 30 * time.Minute}, // default: 5 failures, 15 minutes
		ResetTTL: 10 * time.Minute,                                            // default: 15 minutes
	})
	check(err)
	_, err = auth.HashPassword(context.Background(), "too short")
	fmt.Println(err)
	// Output: password: is shorter than 15 characters
}

func ExampleAuthenticator_HashPassword() {
	auth, err := domain.NewAuthenticator(domaintest.NewRepository(nil), password.Fast(), domain.AuthenticationPolicy{})
	check(err)
	_, err = auth.HashPassword(context.Background(), "password", "ana@example.org", "ana")
	refused := new(domain.PasswordError)
	if errors.As(err, &refused) {
		fmt.Println(refused.Faults) // words to translate
	}
	hash, err := auth.HashPassword(context.Background(), anasPassword, "ana@example.org", "ana") // for a Registration
	check(err)
	fmt.Println(hash.HasPassword(), hash) // a hash redacts itself
	// Output:
	// [common]
	// true [redacted]
}

func ExampleAuthenticator_Authenticate() {
	ctx := context.Background()
	auth, _, _ := signUp(time.Now)
	ana, err := auth.Authenticate(ctx, "ANA@example.org", anasPassword) // the address or the username
	check(err)
	fmt.Println(ana.Username(), !ana.LastLogin().IsZero())

	_, err = auth.Authenticate(ctx, "ana", "wrong")
	var refused *domain.Error
	switch {
	case errors.Is(err, domain.ErrBadCredentials): // no such account, or a wrong password
		fmt.Println("try again")
	case errors.Is(err, domain.ErrLocked) && errors.As(err, &refused):
		fmt.Println("try again at", refused.Until)
	case errors.Is(err, domain.ErrInactive):
		fmt.Println("ask us")
	}
	// Output:
	// ana true
	// try again
}

func ExampleAuthenticator_ChangePassword() {
	ctx := context.Background()
	auth, repository, ana := signUp(time.Now)
	here, err := repository.IssueToken(ctx, ana.ID(), domain.SessionPolicy{})
	check(err)
	_, err = repository.IssueToken(ctx, ana.ID(), domain.SessionPolicy{})
	check(err)
	ana, err = auth.ChangePassword(ctx, ana.ID(), anasPassword, "another long password", here.Session.ID) // which stays
	check(err)
	fmt.Println(len(ana.Sessions(repository.Now())), "session")
	// Output: 1 session
}

func ExampleAuthenticator_SetPassword() {
	ctx := context.Background()
	auth, _, ana := signUp(time.Now)
	_, err := auth.SetPassword(ctx, ana.ID(), "another long password") // by an administrator: all sessions end
	check(err)
	_, err = auth.Authenticate(ctx, "ana", "another long password")
	fmt.Println(err)
	// Output: <nil>
}

func ExampleAuthenticator_AddPassword() {
	ctx := context.Background()
	auth, repository, _ := signUp(time.Now)
	email, err := domain.ParseEmail("bob@example.org")
	check(err)
	username, err := domain.ParseUsername("bob")
	check(err)
	bob, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, repository.Now())
	check(err)
	check(repository.Create(ctx, bob)) // signs in by an identity provider
	bob, err = auth.AddPassword(ctx, bob.ID(), anasPassword, domain.SessionID{})
	check(err)
	fmt.Println(bob.HasPassword())
	_, err = auth.AddPassword(ctx, bob.ID(), anasPassword, domain.SessionID{})
	fmt.Println(errors.Is(err, domain.ErrConflict))
	// Output:
	// true
	// true
}

func ExampleAuthenticator_IssueReset() {
	ctx := context.Background()
	auth, repository, _ := signUp(time.Now)
	email, err := domain.ParseEmail("ana@example.org") // what somebody typed who has forgotten the password
	check(err)
	ana, err := repository.FindByEmail(ctx, email)
	check(err) // in an application: the same page as otherwise, and no mail
	issued, err := auth.IssueReset(ctx, ana.ID(), 0)
	check(err)
	link := "https://shop.example/reset?token=" + issued.Token.Reveal()
	fmt.Println("mail", len(link), "characters to", issued.Email) // there, whatever the address is by now

	token, err := domain.ParseOneTimeToken(issued.Token.Reveal()) // from the form behind the link
	check(err)
	_, err = auth.Reset(ctx, token, "another long password")
	check(err)
	_, err = auth.Reset(ctx, token, "yet another password")
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid))
	// Output:
	// mail 76 characters to ana@example.org
	// true
}

func ExampleAuthenticator_Reset() {
	ctx := context.Background()
	clock := domaintest.NewClock()
	auth, _, ana := signUp(clock.Now)
	issued, err := auth.IssueReset(ctx, ana.ID(), 10*time.Minute)
	check(err)
	clock.Advance(10 * time.Minute)
	_, err = auth.Reset(ctx, issued.Token, "another long password")
	fmt.Println(errors.Is(err, domain.ErrTokenExpired))
	// Output: true
}

func ExampleAuthenticator_IssueVerification() {
	ctx := context.Background()
	auth, _, ana := signUp(time.Now)
	issued, err := auth.IssueVerification(ctx, ana.ID(), 0)
	check(err)
	fmt.Println("mail a link to", issued.Email) // with issued.Token.Reveal()

	confirmed, err := auth.ConfirmEmail(ctx, issued.Token)
	check(err)
	fmt.Println(confirmed.Email, confirmed.User.IsVerified())
	// Output:
	// mail a link to ana@example.org
	// ana@example.org true
}

func ExampleAuthenticator_RequestEmail() {
	ctx := context.Background()
	auth, repository, ana := signUp(time.Now)
	email, err := domain.ParseEmail("ana@gomez.example")
	check(err)
	issued, err := auth.RequestEmail(ctx, ana.ID(), email, 0)
	check(err)
	fmt.Println("mail a link to", issued.Email)
	ana, err = repository.FindByID(ctx, ana.ID())
	check(err)
	fmt.Println("until it is followed:", ana.Email())

	confirmed, err := auth.ConfirmEmail(ctx, issued.Token)
	check(err)
	fmt.Println("then:", confirmed.User.Email())
	// Output:
	// mail a link to ana@gomez.example
	// until it is followed: ana@example.org
	// then: ana@gomez.example
}

func ExampleAuthenticator_ConfirmEmail() {
	ctx := context.Background()
	auth, _, ana := signUp(time.Now)
	issued, err := auth.IssueVerification(ctx, ana.ID(), 0)
	check(err)
	for range 2 { // a mail program looked at the link before its reader did
		confirmed, err := auth.ConfirmEmail(ctx, issued.Token)
		check(err)
		fmt.Println(confirmed.Email, confirmed.Already)
	}
	// Output:
	// ana@example.org false
	// ana@example.org true
}

func ExampleAuthenticator_IssuePhoneCode() {
	ctx := context.Background()
	auth, repository, ana := signUp(time.Now)
	phone, err := domain.ParsePhone("+57 300 111 2233")
	check(err)
	_, err = repository.SetPhone(ctx, ana.ID(), phone)
	check(err)
	issued, err := auth.IssuePhoneCode(ctx, ana.ID(), 0)
	check(err)
	digits := issued.Code.Reveal()
	fmt.Println("send", len(digits), "digits to", issued.Phone)

	code, err := domain.ParsePhoneCode(digits[:3] + " " + digits[3:]) // as it was typed, in a page of the signed-in owner
	check(err)
	confirmed, err := auth.ConfirmPhone(ctx, ana.ID(), code)
	check(err)
	fmt.Println(confirmed.Phone, !confirmed.User.PhoneVerifiedAt().IsZero())
	// Output:
	// send 6 digits to +573001112233
	// +573001112233 true
}

func ExampleAuthenticator_ConfirmPhone() {
	ctx := context.Background()
	auth, repository, ana := signUp(time.Now)
	phone, err := domain.ParsePhone("+573001112233")
	check(err)
	_, err = repository.SetPhone(ctx, ana.ID(), phone)
	check(err)
	issued, err := auth.IssuePhoneCode(ctx, ana.ID(), 0)
	check(err)
	for range domain.MaxPhoneCodeAttempts { // guesses
		wrong, err := domain.ParsePhoneCode("000000")
		check(err)
		if wrong == issued.Code {
			wrong, err = domain.ParsePhoneCode("000001")
			check(err)
		}
		_, err = auth.ConfirmPhone(ctx, ana.ID(), wrong)
		check(errorOtherThan(err, domain.ErrTokenInvalid))
	}
	_, err = auth.ConfirmPhone(ctx, ana.ID(), issued.Code)
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid)) // issue another one
	// Output: true
}

func errorOtherThan(err error, expected domain.Kind) error {
	if errors.Is(err, expected) {
		return nil
	}
	return fmt.Errorf("%w; expected %w", err, expected)
}
