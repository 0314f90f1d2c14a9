package infra_test

import (
	"errors"
	"fmt"

	"github.com/softbee/accounts/domain"
)

func ExampleStore_RecordIdentitySignIn() {
	store, users := registered("ana")
	who, err := domain.ParseIdentity("https://login.example", "4711") // iss and sub of an ID token that was verified
	check(err)
	_, err = store.RecordIdentitySignIn(ctx, who)
	fmt.Println(errors.Is(err, domain.ErrNotFound)) // so the owner signs in once by other means, and links it

	_, err = store.LinkIdentity(ctx, users[0].ID(), who)
	check(err)
	ana, err := store.RecordIdentitySignIn(ctx, who)
	check(err)
	fmt.Println(ana.Username(), !ana.LastLogin().IsZero())
	// Output:
	// true
	// ana true
}

func ExampleStore_LinkIdentity() {
	store, users := registered("ana", "bob")
	who, err := domain.ParseIdentity("https://login.example", "4711")
	check(err)
	_, err = store.LinkIdentity(ctx, users[0].ID(), who)
	check(err)
	_, err = store.LinkIdentity(ctx, users[1].ID(), who)
	fmt.Println(errors.Is(err, domain.ErrTaken))

	ana, err := store.FindByIdentity(ctx, who)
	check(err)
	linked, err := store.Identities(ctx, ana.ID())
	check(err)
	fmt.Println(ana.Username(), linked[0].Identity.Issuer(), linked[0].LastUsedAt.IsZero())
	// Output:
	// true
	// ana https://login.example true
}

func ExampleStore_LinkMany() {
	store, users := registered("ana", "bob")
	var links []domain.LinkedIdentity
	for i, u := range users {
		who, err := domain.ParseIdentity("https://login.example", fmt.Sprint(4711+i))
		check(err)
		links = append(links, domain.LinkedIdentity{Identity: who, UserID: u.ID()})
	}
	refusals, err := store.LinkMany(ctx, links)
	check(err) // of what concerns all of them
	fmt.Println(refusals)
	// Output: [<nil> <nil>]
}

func ExampleStore_UnlinkIdentity() {
	store, users := registered("ana") // without a password
	who, err := domain.ParseIdentity("https://login.example", "4711")
	check(err)
	_, err = store.LinkIdentity(ctx, users[0].ID(), who)
	check(err)
	err = store.UnlinkIdentity(ctx, users[0].ID(), who, false)
	fmt.Println(errors.Is(err, domain.ErrConflict)) // it is the last way in

	const force = true
	check(store.UnlinkIdentity(ctx, users[0].ID(), who, force))
	// Output: true
}

func ExampleStore_RemovePassword() {
	store, users := registered("ana")
	hash, err := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	check(err)
	_, err = store.SetPassword(ctx, users[0].ID(), domain.NoPassword(), hash, domain.SessionID{})
	check(err)
	who, err := domain.ParseIdentity("https://login.example", "4711")
	check(err)
	_, err = store.LinkIdentity(ctx, users[0].ID(), who)
	check(err)
	ana, err := store.RemovePassword(ctx, users[0].ID(), domain.SessionID{}, false) // from now on by login.example alone
	check(err)
	fmt.Println(ana.HasPassword())
	// Output: false
}
