package domain_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
)

func ExampleParseEmail() {
	email, err := domain.ParseEmail(" Ana@BÜCHER.example ")
	check(err)
	fmt.Println(email) // in canonical form, as it is stored and compared

	_, err = domain.ParseEmail("ana")
	fmt.Println(err)
	// Output:
	// ana@xn--bcher-kva.example
	// email: has no @
}

func ExampleParseUsername() {
	username, err := domain.ParseUsername("ＡＮＡ") // full-width letters
	check(err)
	fmt.Println(username)

	_, err = domain.ParseUsername("an")
	fmt.Println(errors.Is(err, domain.ErrInvalid))
	// Output:
	// ana
	// true
}

func ExampleLookupUsername() {
	username, err := domain.LookupUsername("AN") // shorter than a new one may be, as an adopted account's
	check(err)
	fmt.Println(username)
	// Output: an
}

func ExampleParsePhone() {
	phone, err := domain.ParsePhone("+57 (300) 111-2233")
	check(err)
	fmt.Println(phone)
	// Output: +573001112233
}

func ExampleParseID() {
	id := domain.NewID()
	same, err := domain.ParseID(id.String())
	check(err)
	fmt.Println(same == id)
	_, err = domain.ParseID("4711")
	fmt.Println(errors.Is(err, domain.ErrInvalid))
	// Output:
	// true
	// true
}

func ExampleIDFromUUID() {
	made := uuid.Must(uuid.NewV7()) // where the application wants ids in the order of time
	registration := domain.Registration{ID: domain.IDFromUUID(made)}
	fmt.Println(registration.ID.UUID() == made)
	// Output: true
}

func ExampleParseIdentity() {
	who, err := domain.ParseIdentity("https://login.example", "4711") // iss and sub of an ID token
	check(err)
	text, err := json.Marshal(who)
	check(err)
	fmt.Println(string(text))
	// Output: {"issuer":"https://login.example","subject":"4711"}
}

func ExampleParseNames() {
	names, err := domain.ParseNames("  Ana ", "")
	check(err)
	fmt.Printf("%+q\n", names)
	_, err = domain.ParseNames("Ana", strings.Repeat("x", 101))
	var refused *domain.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Field)
	}
	// Output:
	// {"Ana" ""}
	// last_name
}

func ExampleParsePasswordHash() {
	hash, err := domain.ParsePasswordHash("$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy") // of another system
	check(err)
	fmt.Println(hash.HasPassword(), hash)
	// Output: true [redacted]
}

func ExampleNoPassword() {
	registration := domain.Registration{PasswordHash: domain.NoPassword()} // signs in by an identity provider
	fmt.Println(registration.PasswordHash.HasPassword())
	// Output: false
}

func ExampleNewUser() {
	email, err := domain.ParseEmail("ana@example.org")
	check(err)
	username, err := domain.ParseUsername("ana")
	check(err)
	ana, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	check(err)
	fmt.Println(ana.Email(), ana.IsActive(), ana.IsVerified(), ana.Version())

	_, err = domain.NewUser(domain.Registration{Email: email, Username: username}, time.Now())
	fmt.Println(err)
	// Output:
	// ana@example.org true false 1
	// hashed_password: is required
}

func ExampleUser() {
	// What Update of a store calls in its closure changes an account in memory.
	_, repository, ana := signUp(time.Now)
	phone, err := domain.ParsePhone("+573001112233")
	check(err)
	username, err := domain.ParseUsername("anita")
	check(err)
	ana, err = repository.Update(context.Background(), ana.ID(), func(ana *domain.User) error {
		ana.ChangePhone(phone)
		return errors.Join(ana.ExpectVersion(1), ana.Rename("Ana", "Gómez"), ana.ChangeUsername(username))
	})
	check(err)
	fmt.Println(ana.Username(), ana.FirstName(), ana.LastName(), ana.Phone(), ana.Version())
	// Output: anita Ana Gómez +573001112233 2
}

func ExampleUser_RequestEmail() {
	_, _, ana := signUp(time.Now)
	email, err := domain.ParseEmail("ana@gomez.example")
	check(err)
	check(ana.RequestEmail(email))
	fmt.Println(ana.Email(), ana.PendingEmail())
	ana.CancelEmail()
	fmt.Println(ana.PendingEmail().IsZero())
	check(ana.ChangeEmail(email)) // by an administrator
	fmt.Println(ana.Email(), ana.IsVerified())
	// Output:
	// ana@example.org ana@gomez.example
	// true
	// ana@gomez.example false
}

func ExampleUser_Deactivate() {
	_, _, ana := signUp(time.Now)
	ana.Verify()
	ana.Deactivate()
	fmt.Println(ana.IsActive(), ana.IsVerified())
	ana.Activate()
	fmt.Println(ana.IsActive())
	// Output:
	// false true
	// true
}

func ExampleUser_Public() {
	_, _, ana := signUp(time.Now)
	for name, value := range ana.Public(time.Now()) { // what MarshalJSON writes
		if name == "email" || name == "has_password" || name == "phone" {
			fmt.Println(name, value)
		}
	}
	// Output:
	// email ana@example.org
	// phone <nil>
	// has_password true
}

func ExampleUser_FindSession() {
	// An account that was read once tells of each of its tokens; FindByToken of a store reads and tells in one step.
	_, repository, ana := signUp(time.Now)
	grant, err := repository.IssueToken(context.Background(), ana.ID(), domain.SessionPolicy{Label: "Firefox"})
	check(err)
	ana, err = repository.FindByID(context.Background(), ana.ID())
	check(err)
	session, err := ana.FindSession(grant.Token, repository.Now())
	check(err)
	fmt.Println(session.Label, len(ana.Sessions(repository.Now())), ana.IsLocked(repository.Now()))
	// Output: Firefox 1 false
}

func ExampleSessionList() {
	// The rules of sessions are functions of the list and the time; a store makes them atomic.
	now := time.Now()
	owner := domain.NewID()
	list, first, err := domain.SessionList(nil).Issue(owner, now, domain.SessionPolicy{Label: "Firefox"})
	check(err)
	list, second, err := list.Issue(owner, now, domain.SessionPolicy{Label: "Safari"})
	check(err)
	list, next, err := list.Rotate(first, now, domain.SessionPolicy{})
	check(err)
	session, err := list.Find(next, now)
	check(err)
	fmt.Println(session.Label, len(list.Sessions(now)))

	list = list.RevokeOthers(session.ID, now)
	_, err = list.Find(second, now)
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid))

	list = list.Revoke(session.ID, now).Prune(now)
	fmt.Println(len(list))
	// Output:
	// Firefox 2
	// true
	// 0
}

func ExampleSessionPolicy_Resolve() {
	policy, err := domain.SessionPolicy{Idle: time.Hour}.Resolve()
	check(err)
	fmt.Println(policy.Cap, policy.Idle, policy.Absolute, policy.Grace)
	// Output: 20 1h0m0s 720h0m0s 1m0s
}

func ExampleLockPolicy_Resolve() {
	policy, err := domain.LockPolicy{}.Resolve()
	check(err)
	fmt.Println(policy.Attempts, policy.Duration)
	// Output: 5 15m0s
}

func ExamplePasswordPolicy_Check() {
	company := domain.PasswordPolicy{Blocked: func(password string) bool {
		return domain.IsCommonPassword(password) || strings.Contains(strings.ToLower(password), "shop.example")
	}}
	fmt.Println(company.Check("Shop.example 2026"))
	fmt.Println(company.Check("Ana@Example.org", "ana@example.org"))
	fmt.Println(company.Check(anasPassword))
	// Output:
	// password: is a common password
	// password: is the account's own e-mail address or username
	// <nil>
}

func ExampleIsCommonPassword() {
	fmt.Println(domain.IsCommonPassword("Password1"), domain.IsCommonPassword(anasPassword))
	// Output: true false
}

func ExampleNewOneTimeToken() {
	token := domain.NewOneTimeToken()
	fmt.Println(token, len(token.Reveal()), token.Digest()) // token and digest redact themselves

	same, err := domain.ParseOneTimeToken(token.Reveal())
	check(err)
	fmt.Println(same.Digest() == token.Digest())
	// Output:
	// [redacted] 43 [redacted]
	// true
}

func ExampleParseRefreshToken() {
	_, repository, ana := signUp(time.Now)
	grant, err := repository.IssueToken(context.Background(), ana.ID(), domain.SessionPolicy{})
	check(err)
	token, err := domain.ParseRefreshToken(grant.Token.Reveal()) // as from a cookie
	check(err)
	fmt.Println(token.SessionID() == grant.Session.ID, token)
	_, err = domain.ParseRefreshToken("made up")
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid))
	// Output:
	// true [redacted]
	// true
}

func ExampleParseSessionID() {
	_, err := domain.ParseSessionID("the first one")
	fmt.Println(err)
	// Output: session: is not the id of a session
}

func ExampleNewPhoneCode() {
	owner := domain.NewID()
	code := domain.NewPhoneCode()
	typed, err := domain.ParsePhoneCode(code.Reveal())
	check(err)
	fmt.Println(typed.Digest(owner) == code.Digest(owner), typed.Digest(domain.NewID()) == code.Digest(owner))
	// Output: true false
}

func ExampleListQuery() {
	_, repository, ana := signUp(time.Now)
	order, err := domain.ParseOrder("email") // as from a URL
	check(err)
	query, err := domain.ListQuery{Order: order}.Resolve()
	check(err)
	query.After = query.CursorAfter(ana)
	page, err := repository.List(context.Background(), query)
	check(err)
	fmt.Println(query.Limit, len(page.Users))
	// Output: 50 0
}

func ExampleListQuery_ResolvePurge() {
	_, err := domain.ListQuery{}.ResolvePurge() // which would be everybody
	fmt.Println(err)
	// Output: filter: has no age: expected CreatedBefore, SignedInBefore or UnverifiedSince
}

func ExampleParseCursor() {
	_, repository, ana := signUp(time.Now)
	cursor, err := domain.ParseCursor(domain.ListQuery{}.CursorAfter(ana).String()) // from the client, and it is checked
	check(err)
	page, err := repository.List(context.Background(), domain.ListQuery{After: cursor})
	check(err)
	fmt.Println(len(page.Users))
	// Output: 0
}

func ExampleCursor_Compare() {
	query := domain.ListQuery{Order: domain.OrderEmail}
	ana, bob := query.CursorAt(time.Time{}, domain.ID{}, "ana@example.org"), query.CursorAt(time.Time{}, domain.ID{}, "bob@example.org")
	at, id := ana.At() // of the orders by time
	fmt.Println(ana.Compare(bob) < 0, ana.Key(), at.IsZero(), id.IsZero())
	// Output: true ana@example.org true true
}

func ExampleParsePrefix() {
	_, repository, _ := signUp(time.Now)
	search, err := domain.ParsePrefix("AN")
	check(err)
	n, err := repository.Count(context.Background(), domain.Filter{Search: search})
	check(err)
	fmt.Println(n)
	// Output: 1
}

func ExampleParseNamePrefix() {
	prefix, err := domain.ParseNamePrefix("an")
	check(err)
	fmt.Println(prefix.Matches(domain.Names{First: "Ana"}), prefix.Matches(domain.Names{First: "Bob", Last: "Nan"}))
	// Output: true false
}

func ExampleParseMailDomain() {
	at, err := domain.ParseMailDomain("Bücher.example")
	check(err)
	fmt.Println(at)
	// Output: xn--bcher-kva.example
}

func ExampleKindOf() {
	_, repository, _ := signUp(time.Now)
	_, err := repository.FindByID(context.Background(), domain.NewID())
	switch domain.KindOf(err) { // as for a status of HTTP
	case domain.ErrNotFound:
		fmt.Println(404)
	case domain.ErrTaken, domain.ErrConflict:
		fmt.Println(409)
	case domain.ErrUnavailable:
		fmt.Println(503)
	}
	// Output: 404
}

func ExampleOutcomeUnknown() {
	err := error(&domain.Error{Kind: domain.ErrUnavailable, Reason: "the reply was lost", Unknown: true})
	if domain.OutcomeUnknown(err) {
		fmt.Println("look whether it was stored, then repeat")
	}
	// Output: look whether it was stored, then repeat
}

func ExampleWithOrigin() {
	ctx := domain.WithOrigin(context.Background(), domain.Origin{RequestID: "4711", Actor: "support: eve"}) // once for each request
	fmt.Println(domain.OriginOf(ctx).Actor)                                                                 // hooks get it with each event
	// Output: support: eve
}

func ExampleEventKinds() {
	fmt.Println(domain.EventKinds()[:3])
	// Output: [registered signed_in sign_in_failed]
}

// slow logs what takes long.
type slow struct{ operations []string }

func (s *slow) Begin(ctx context.Context, _ string) context.Context { return ctx }

func (s *slow) End(_ context.Context, o domain.Observation) {
	if o.Duration >= 0 { // in an application more than that
		s.operations = append(s.operations, o.Operation)
	}
}

func ExampleObserve() {
	// How a package that works for others lets their observers see it.
	observer := &slow{}
	err := domain.Observe(context.Background(), []domain.Observer{observer}, "send mail", func(context.Context) (domain.Observation, error) {
		return domain.Observation{Rows: 1}, nil
	})
	check(err)
	fmt.Println(observer.operations)
	// Output: [send mail]
}

func ExampleStoredTime() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("", 3600))
	fmt.Println(domain.StoredTime(at)) // as a store keeps it
	// Output: 2026-01-02 02:04:05.678901 +0000 UTC
}

func ExampleRestoreUser() {
	// What a store does with a row, and with the values of its columns: it checks their form and not today's rules, which may have been
	// tightened since.
	email, err := domain.RestoreEmail("ana@example.org")
	check(err)
	username, err := domain.RestoreUsername("an")
	check(err)
	phone, err := domain.RestorePhone("+573001112233")
	check(err)
	digest, err := domain.RestoreTokenDigest("reset_token", domain.NewOneTimeToken().Digest().Stored())
	check(err)
	ana, err := domain.RestoreUser(domain.UserState{
		ID: domain.NewID(), Email: email, Username: username, Phone: phone, ResetToken: digest, ResetTokenExpiry: time.Now(), Active: true, Version: 7,
	})
	check(err)
	who := domain.RestoreIdentity("https://login.example", "4711")
	fmt.Println(ana.Username(), ana.Version(), who.Subject())
	// Output: an 7 4711
}

func ExampleEmail_Value() {
	// Values go into statements as they are, and come out by Scan.
	email, err := domain.ParseEmail("ana@example.org")
	check(err)
	var argument driver.Valuer = email
	stored, err := argument.Value()
	check(err)
	var read domain.Email
	check(read.Scan(stored))
	fmt.Println(stored, read == email)
	// Output: ana@example.org true
}

func ExampleReadCurrent() {
	ctx := context.Background()
	fmt.Println(domain.ReadsCurrent(ctx)) // a repository with replicas may read from one
	fmt.Println(domain.ReadsCurrent(domain.ReadCurrent(ctx)))
	// Output:
	// false
	// true
}
