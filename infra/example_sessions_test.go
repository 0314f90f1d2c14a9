package infra_test

import (
	"errors"
	"fmt"

	"github.com/softbee/accounts/domain"
)

func ExampleStore_IssueToken() {
	store, users := registered("ana")
	// The password was right, or another proof: a session begins.
	grant, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{Label: "Firefox on Linux, Bogotá"})
	check(err)
	cookie := grant.Token.Reveal() // to the client, and nowhere else

	token, err := domain.ParseRefreshToken(cookie)
	check(err)
	ana, session, err := store.FindByToken(ctx, token)
	check(err)
	fmt.Println(ana.Username(), session.Label)
	fmt.Println(grant.Token) // tokens redact themselves
	// Output:
	// ana Firefox on Linux, Bogotá
	// [redacted]
}

func ExampleStore_FindByToken() {
	store, users := registered("ana")
	grant, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
	check(err)
	_, session, err := store.FindByToken(ctx, grant.Token)
	check(err)
	fmt.Println(session.ID == grant.Session.ID)

	_, err = store.RevokeSession(ctx, users[0].ID(), session.ID)
	check(err)
	_, _, err = store.FindByToken(ctx, grant.Token)
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid))
	// Output:
	// true
	// true
}

func ExampleStore_RotateToken() {
	store, users := registered("ana")
	grant, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
	check(err)
	next, err := store.RotateToken(ctx, grant.Token, domain.SessionPolicy{})
	check(err)
	again, err := store.RotateToken(ctx, grant.Token, domain.SessionPolicy{}) // a second tab, or a reply that was lost
	check(err)
	fmt.Println(again.Token == next.Token)
	// Output: true
}

func ExampleStore_RotateToken_reused() {
	store, users := registered("ana")
	policy := domain.SessionPolicy{Grace: domain.NoGrace}
	grant, err := store.IssueToken(ctx, users[0].ID(), policy)
	check(err)
	next, err := store.RotateToken(ctx, grant.Token, policy)
	check(err)
	_, err = store.RotateToken(ctx, grant.Token, policy) // somebody has a copy: the session ends
	fmt.Println(errors.Is(err, domain.ErrTokenReused))
	_, _, err = store.FindByToken(ctx, next.Token)
	fmt.Println(errors.Is(err, domain.ErrTokenInvalid))
	// Output:
	// true
	// true
}

func ExampleStore_Sessions() {
	store, users := registered("ana")
	for _, device := range []string{"Firefox on Linux", "Safari on iPhone"} {
		_, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{Label: device})
		check(err)
	}
	sessions, err := store.Sessions(ctx, users[0].ID())
	check(err)
	for _, session := range sessions {
		fmt.Println(session.Label)
	}
	n, err := store.CountSessions(ctx)
	check(err)
	fmt.Println(n, "sessions of all accounts")
	// Unordered output:
	// Firefox on Linux
	// Safari on iPhone
	// 2 sessions of all accounts
}

func ExampleStore_RevokeSession() {
	store, users := registered("ana")
	grant, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
	check(err)
	id, err := domain.ParseSessionID(grant.Session.ID.String()) // as from a form in a list of devices
	check(err)
	ana, err := store.RevokeSession(ctx, users[0].ID(), id)
	check(err)
	fmt.Println(len(ana.Sessions(store.Now())))
	// Output: 0
}

func ExampleStore_RevokeOtherSessions() {
	store, users := registered("ana")
	for range 2 {
		_, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
		check(err)
	}
	here, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{Label: "this one"})
	check(err)
	ana, err := store.RevokeOtherSessions(ctx, users[0].ID(), here.Session.ID)
	check(err)
	for _, session := range ana.Sessions(store.Now()) {
		fmt.Println(session.Label)
	}
	// Output: this one
}

func ExampleStore_RevokeSessions() {
	store, users := registered("ana", "bob")
	for _, u := range users {
		_, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
		check(err)
	}
	ana, err := store.RevokeSessions(ctx, users[0].ID())
	check(err)
	fmt.Println(len(ana.Sessions(store.Now())))
	ended, err := store.RevokeMany(ctx, []domain.ID{users[0].ID(), users[1].ID()})
	check(err)
	fmt.Println(len(ended), "account had sessions still")
	// Output:
	// 0
	// 1 account had sessions still
}

func ExampleStore_RevokeEverybody() {
	store, users := registered("ana", "bob")
	for _, u := range users {
		_, err := store.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
		check(err)
	}
	var after domain.ID
	for done := false; !done; {
		step, err := store.RevokeEverybody(ctx, after, 1000)
		check(err)
		fmt.Println(step.Swept, "accounts")
		after, done = step.Next, step.Done
	}
	// Output: 2 accounts
}

func ExampleStore_SweepSessions() {
	store, _ := registered("ana", "bob")
	var after domain.ID
	for done := false; !done; { // at night: it saves space, and changes nothing that counts
		step, err := store.SweepSessions(ctx, after, 1000)
		check(err)
		fmt.Println(step.Visited, step.Swept)
		after, done = step.Next, step.Done
	}
	// Output: 2 0
}
