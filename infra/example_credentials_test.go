package infra_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain"
)

// The methods below are what domain.Authenticator calls, which has the rules of signing in. An application calls them where it has rules of its
// own.

func ExampleStore_RecordFailure() {
	store, users := registered("ana")
	policy := domain.LockPolicy{Attempts: 2, Duration: time.Hour}
	for range 2 {
		ana, err := store.RecordFailure(ctx, users[0].ID(), policy)
		check(err)
		fmt.Println(ana.FailedLoginAttempts(), ana.IsLocked(store.Now()))
	}
	_, err := store.RecordFailure(ctx, users[0].ID(), policy)
	fmt.Println(errors.Is(err, domain.ErrLocked))
	// Output:
	// 1 false
	// 2 true
	// true
}

func ExampleStore_RecordSuccess() {
	store, users := registered("ana")
	hash, err := domain.ParsePasswordHash("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW") // imported
	check(err)
	ana, err := store.SetPassword(ctx, users[0].ID(), domain.PasswordHash{}, hash, domain.SessionID{})
	check(err)
	better, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	check(err)
	_, err = store.RecordSuccess(ctx, ana.ID(), hash, better) // hash is the one that the password was checked against
	check(err)
	_, err = store.RecordSuccess(ctx, ana.ID(), hash, domain.PasswordHash{})
	fmt.Println(errors.Is(err, domain.ErrConflict)) // by now it is another one
	// Output: true
}

func ExampleStore_SetPassword() {
	store, users := registered("ana")
	here, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
	check(err)
	_, err = store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
	check(err)
	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	check(err)
	ana, err := store.SetPassword(ctx, users[0].ID(), domain.NoPassword(), hash, here.Session.ID) // where there was none
	check(err)
	fmt.Println(ana.HasPassword(), len(ana.Sessions(store.Now())))
	// Output: true 1
}

func ExampleStore_LockUntil() {
	store, users := registered("ana")
	ana, err := store.LockUntil(ctx, users[0].ID(), store.Now().Add(time.Hour))
	check(err)
	fmt.Println(ana.IsLocked(store.Now()))
	ana, err = store.Unlock(ctx, ana.ID())
	check(err)
	fmt.Println(ana.IsLocked(store.Now()))
	// Output:
	// true
	// false
}

func ExampleStore_IssueReset() {
	store, users := registered("ana")
	token := domain.NewOneTimeToken()
	ana, err := store.IssueReset(ctx, users[0].ID(), token.Digest(), store.Now().Add(15*time.Minute))
	check(err)
	fmt.Println("mail the link to", ana.Email()) // with token.Reveal()

	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	check(err)
	_, err = store.ConsumeReset(ctx, token.Digest(), hash)
	check(err)
	_, err = store.ConsumeReset(ctx, token.Digest(), hash)
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid)) // it was used
	// Output:
	// mail the link to ana@example.org
	// true
}

func ExampleStore_CancelReset() {
	store, users := registered("ana")
	_, err := store.IssueReset(ctx, users[0].ID(), domain.NewOneTimeToken().Digest(), store.Now().Add(time.Hour))
	check(err)
	_, err = store.CancelReset(ctx, users[0].ID()) // "that was not me"
	fmt.Println(err)
	// Output: <nil>
}

func ExampleStore_IssueVerification() {
	store, users := registered("ana")
	token := domain.NewOneTimeToken()
	ana, err := store.IssueVerification(ctx, users[0].ID(), token.Digest(), store.Now().Add(24*time.Hour))
	check(err)
	fmt.Println("mail the link to", ana.Email())

	confirmed, err := store.ConsumeVerification(ctx, token.Digest())
	check(err)
	fmt.Println(confirmed.User.IsVerified(), confirmed.Already)
	confirmed, err = store.ConsumeVerification(ctx, token.Digest()) // the link was followed twice
	check(err)
	fmt.Println(confirmed.User.IsVerified(), confirmed.Already)
	// Output:
	// mail the link to ana@example.org
	// true false
	// true true
}

func ExampleStore_CancelVerification() {
	store, users := registered("ana")
	token := domain.NewOneTimeToken()
	_, err := store.IssueVerification(ctx, users[0].ID(), token.Digest(), store.Now().Add(time.Hour))
	check(err)
	_, err = store.CancelVerification(ctx, users[0].ID())
	check(err)
	_, err = store.ConsumeVerification(ctx, token.Digest())
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid))
	// Output: true
}

func ExampleStore_RequestEmail() {
	store, users := registered("ana")
	email, err := domain.ParseEmail("ana@gomez.example")
	check(err)
	token := domain.NewOneTimeToken()
	ana, err := store.RequestEmail(ctx, users[0].ID(), email, token.Digest(), store.Now().Add(24*time.Hour))
	check(err)
	fmt.Println(ana.Email(), "until a link confirms", ana.PendingEmail())

	confirmed, err := store.ConsumeVerification(ctx, token.Digest())
	check(err)
	fmt.Println(confirmed.User.Email())
	// Output:
	// ana@example.org until a link confirms ana@gomez.example
	// ana@gomez.example
}

func ExampleStore_CancelEmail() {
	store, users := registered("ana")
	email, err := domain.ParseEmail("ana@gomez.example")
	check(err)
	_, err = store.RequestEmail(ctx, users[0].ID(), email, domain.NewOneTimeToken().Digest(), store.Now().Add(time.Hour))
	check(err)
	ana, err := store.CancelEmail(ctx, users[0].ID())
	check(err)
	fmt.Println(ana.Email(), ana.PendingEmail().IsZero())
	// Output: ana@example.org true
}

func ExampleStore_IssuePhoneCode() {
	store, users := registered("ana")
	phone, err := domain.ParsePhone("+573001112233")
	check(err)
	_, err = store.SetPhone(ctx, users[0].ID(), phone)
	check(err)
	code := domain.NewPhoneCode()
	ana, err := store.IssuePhoneCode(ctx, users[0].ID(), code.Digest(users[0].ID()), store.Now().Add(10*time.Minute))
	check(err)
	fmt.Println("send the code to", ana.Phone()) // code.Reveal()

	confirmed, err := store.ConsumePhoneCode(ctx, ana.ID(), code.Digest(ana.ID()))
	check(err)
	fmt.Println(!confirmed.User.PhoneVerifiedAt().IsZero())
	// Output:
	// send the code to +573001112233
	// true
}

func ExampleStore_CancelPhoneCode() {
	store, users := registered("ana")
	phone, err := domain.ParsePhone("+573001112233")
	check(err)
	_, err = store.SetPhone(ctx, users[0].ID(), phone)
	check(err)
	code := domain.NewPhoneCode().Digest(users[0].ID())
	_, err = store.IssuePhoneCode(ctx, users[0].ID(), code, store.Now().Add(time.Minute))
	check(err)
	_, err = store.CancelPhoneCode(ctx, users[0].ID())
	check(err)
	_, err = store.ConsumePhoneCode(ctx, users[0].ID(), code)
	fmt.Println(domain.KindOf(err))
	// Output: token_invalid
}
