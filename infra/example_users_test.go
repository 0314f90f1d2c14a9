package infra_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/sqlite"
)

// registered returns a migrated store with an account of each name. None has a password.
func registered(names ...string) (*infra.Store, []*domain.User) {
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	check(store.Migrate(ctx))
	users := make([]*domain.User, len(names))
	for i, name := range names {
		users[i] = newUser(name)
		check(store.Create(ctx, users[i]))
	}
	return store, users
}

// newUser returns an account that is not stored: NAME with the address NAME@example.org.
func newUser(name string) *domain.User {
	email, err := domain.ParseEmail(name + "@example.org")
	check(err)
	username, err := domain.ParseUsername(name)
	check(err)
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	check(err)
	return u
}

func usernames(users []*domain.User) (names []string) {
	for _, u := range users {
		if u == nil {
			names = append(names, "-")
		} else {
			names = append(names, u.Username().String())
		}
	}
	return names
}

func ExampleStore_Create() {
	store, _ := registered("ana")
	email, err := domain.ParseEmail("Bob@Example.org")
	check(err)
	username, err := domain.ParseUsername("ana")
	check(err)
	bob, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, store.Now())
	check(err)
	err = store.Create(ctx, bob)
	var refused *domain.Error
	if errors.Is(err, domain.ErrTaken) && errors.As(err, &refused) {
		fmt.Println("choose another", refused.Field)
	}
	// Output: choose another username
}

func ExampleStore_CreateWith() {
	store, _ := registered()
	_, err := store.DB().Exec("ALTER TABLE users ADD COLUMN plan text") // a column of the application, from its own migrations
	check(err)
	ana := newUser("ana")
	check(store.CreateWith(ctx, ana, infra.Column{Name: "plan", Value: "gold"}))
	var plan string
	check(store.DB().QueryRow("SELECT plan FROM users WHERE id = $1", ana.ID()).Scan(&plan))
	fmt.Println(plan)
	// Output: gold
}

func ExampleStore_CreateMany() {
	store, _ := registered("ana")
	refusals, err := store.CreateMany(ctx, []*domain.User{newUser("bob"), newUser("ana"), newUser("eve")})
	check(err) // of what concerns all of them
	for _, refused := range refusals {
		fmt.Println(domain.KindOf(refused))
	}
	// Output:
	//
	// taken
	//
}

func ExampleStore_FindByEmail() {
	store, users := registered("ana")
	email, err := domain.ParseEmail("ANA@example.org")
	check(err)
	ana, err := store.FindByEmail(ctx, email)
	check(err)
	fmt.Println(ana.Username(), ana.ID() == users[0].ID())

	email, err = domain.ParseEmail("bob@example.org")
	check(err)
	_, err = store.FindByEmail(ctx, email)
	fmt.Println(errors.Is(err, domain.ErrNotFound))
	// Output:
	// ana true
	// true
}

func ExampleStore_FindByID() {
	store, users := registered("ana")
	id, err := domain.ParseID(users[0].ID().String()) // as from a URL
	check(err)
	ana, err := store.FindByID(ctx, id)
	check(err)
	fmt.Println(ana.Email())
	// Output: ana@example.org
}

func ExampleStore_FindByUsername() {
	store, _ := registered("ana")
	username, err := domain.LookupUsername("Ana") // what somebody typed, of a name that may be older than today's rules
	check(err)
	ana, err := store.FindByUsername(ctx, username)
	check(err)
	fmt.Println(ana.Email())
	// Output: ana@example.org
}

func ExampleStore_FindByPhone() {
	store, users := registered("ana")
	phone, err := domain.ParsePhone("+57 300 111 2233")
	check(err)
	_, err = store.SetPhone(ctx, users[0].ID(), phone)
	check(err)
	ana, err := store.FindByPhone(ctx, phone)
	check(err)
	fmt.Println(ana.Username(), ana.Phone())
	// Output: ana +573001112233
}

func ExampleStore_FindByIDs() {
	store, users := registered("ana", "bob")
	found, err := store.FindByIDs(ctx, []domain.ID{users[1].ID(), domain.NewID(), users[0].ID()})
	check(err)
	fmt.Println(usernames(found))
	// Output: [bob - ana]
}

func ExampleStore_FindByEmails() {
	store, users := registered("ana", "bob")
	found, err := store.FindByEmails(ctx, []domain.Email{users[1].Email(), users[0].Email()})
	check(err)
	fmt.Println(usernames(found))
	// Output: [bob ana]
}

func ExampleStore_FindByUsernames() {
	store, users := registered("ana", "bob")
	found, err := store.FindByUsernames(ctx, []domain.Username{users[1].Username(), users[0].Username()})
	check(err)
	fmt.Println(usernames(found))
	// Output: [bob ana]
}

func ExampleStore_ExistsByEmail() {
	store, users := registered("ana")
	taken, err := store.ExistsByEmail(ctx, users[0].Email()) // a hint while somebody types; Create decides
	check(err)
	fmt.Println(taken)
	// Output: true
}

func ExampleStore_ExistsByUsername() {
	store, _ := registered("ana")
	username, err := domain.ParseUsername("bob")
	check(err)
	taken, err := store.ExistsByUsername(ctx, username)
	check(err)
	fmt.Println(taken)
	// Output: false
}

func ExampleStore_List() {
	store, _ := registered("ana", "bob", "eve")
	query := domain.ListQuery{Order: domain.OrderUsername, Limit: 2}
	for {
		page, err := store.List(ctx, query)
		check(err)
		fmt.Println(usernames(page.Users))
		if page.Next.IsZero() {
			break
		}
		query.After, err = domain.ParseCursor(page.Next.String()) // the text goes to the client and comes back
		check(err)
	}
	// Output:
	// [ana bob]
	// [eve]
}

func ExampleStore_List_filter() {
	store, users := registered("ana", "bob", "eve")
	_, err := store.Deactivate(ctx, users[1].ID())
	check(err)
	active := true
	at, err := domain.ParseMailDomain("example.org")
	check(err)
	page, err := store.List(ctx, domain.ListQuery{Filter: domain.Filter{Active: &active, Domain: at}, Order: domain.OrderEmail, Descending: true})
	check(err)
	fmt.Println(usernames(page.Users))
	// Output: [eve ana]
}

func ExampleStore_Count() {
	store, _ := registered("ana", "andy", "bob")
	search, err := domain.ParsePrefix("an")
	check(err)
	n, err := store.Count(ctx, domain.Filter{Search: search})
	check(err)
	fmt.Println(n)
	// Output: 2
}

func ExampleStore_Update() {
	store, users := registered("ana")
	form := users[0].Version() // what the owner has seen, as in an ETag
	ana, err := store.Update(ctx, users[0].ID(), func(ana *domain.User) error {
		return errors.Join(ana.ExpectVersion(form), ana.Rename("Ana", "Gómez"))
	})
	check(err)
	fmt.Println(ana.FirstName(), ana.LastName(), ana.Version())

	_, err = store.Update(ctx, ana.ID(), func(ana *domain.User) error {
		return errors.Join(ana.ExpectVersion(form), ana.Rename("Anna", "Gómez"))
	})
	fmt.Println(errors.Is(err, domain.ErrConflict))
	// Output:
	// Ana Gómez 2
	// true
}

func ExampleStore_SetEmail() {
	store, users := registered("ana")
	email, err := domain.ParseEmail("ana@gomez.example")
	check(err)
	ana, err := store.SetEmail(ctx, users[0].ID(), email) // by an administrator; owners ask by RequestEmail
	check(err)
	fmt.Println(ana.Email(), ana.IsVerified())
	// Output: ana@gomez.example false
}

func ExampleStore_SetUsername() {
	store, users := registered("ana")
	username, err := domain.ParseUsername("Ana.Gómez")
	check(err)
	ana, err := store.SetUsername(ctx, users[0].ID(), username)
	check(err)
	fmt.Println(ana.Username())
	// Output: ana.gómez
}

func ExampleStore_SetNames() {
	store, users := registered("ana")
	names, err := domain.ParseNames(" Ana ", "Gómez")
	check(err)
	ana, err := store.SetNames(ctx, users[0].ID(), names)
	check(err)
	fmt.Printf("%q %q\n", ana.FirstName(), ana.LastName())
	// Output: "Ana" "Gómez"
}

func ExampleStore_SetPhone() {
	store, users := registered("ana")
	phone, err := domain.ParsePhone("+573001112233")
	check(err)
	ana, err := store.SetPhone(ctx, users[0].ID(), phone)
	check(err)
	fmt.Println(ana.Phone(), "confirmed:", !ana.PhoneVerifiedAt().IsZero())

	ana, err = store.SetPhone(ctx, ana.ID(), domain.Phone{}) // removes it
	check(err)
	fmt.Println(ana.Phone().IsZero())
	// Output:
	// +573001112233 confirmed: false
	// true
}

func ExampleStore_Deactivate() {
	store, users := registered("ana")
	_, err := store.IssueToken(ctx, users[0].ID(), domain.SessionPolicy{})
	check(err)
	ana, err := store.Deactivate(ctx, users[0].ID())
	check(err)
	fmt.Println(ana.IsActive(), len(ana.Sessions(store.Now())))

	ana, err = store.Activate(ctx, ana.ID())
	check(err)
	fmt.Println(ana.IsActive(), len(ana.Sessions(store.Now())))
	// Output:
	// false 0
	// true 0
}

func ExampleStore_DeactivateMany() {
	store, users := registered("ana", "bob")
	ids := []domain.ID{users[0].ID(), users[1].ID()}
	_, err := store.Deactivate(ctx, ids[0])
	check(err)
	changed, err := store.DeactivateMany(ctx, ids)
	check(err)
	fmt.Println(len(changed), "changed")
	changed, err = store.ActivateMany(ctx, ids)
	check(err)
	fmt.Println(len(changed), "changed")
	// Output:
	// 1 changed
	// 2 changed
}

func ExampleStore_Verify() {
	store, users := registered("ana")
	ana, err := store.Verify(ctx, users[0].ID()) // by an administrator; owners follow a link, which ConfirmEmail of an authenticator takes
	check(err)
	fmt.Println(ana.IsVerified())
	// Output: true
}

func ExampleStore_RecordSignIn() {
	store, users := registered("ana")
	at, err := store.RecordSignIn(ctx, users[0].ID()) // by other means than a password
	check(err)
	ana, err := store.FindByID(ctx, users[0].ID())
	check(err)
	fmt.Println(ana.LastLogin().Equal(at))
	// Output: true
}

func ExampleStore_DeleteAt() {
	store, users := registered("ana")
	page := users[0].Version() // what somebody saw, who then asked for this
	_, err := store.SetNames(ctx, users[0].ID(), domain.Names{First: "Ana"})
	check(err)
	err = store.DeleteAt(ctx, users[0].ID(), page)
	fmt.Println(errors.Is(err, domain.ErrConflict))
	// Output: true
}

func ExampleStore_Purge() {
	store, _ := registered("ana", "bob")
	tomorrow := time.Now().AddDate(0, 0, 1) // accounts that are older than this, which is a month ago in an application
	query := domain.ListQuery{Filter: domain.Filter{UnverifiedSince: tomorrow}, Limit: 1}
	deleted := 0
	for {
		purged, err := store.Purge(ctx, query)
		check(err)
		deleted += len(purged.IDs)
		if purged.Done {
			break
		}
		query.After = purged.Next
	}
	fmt.Println(deleted)
	// Output: 2
}

func ExampleStore_Export() {
	store, _ := registered("ana", "bob")
	for u, err := range store.Export(ctx) { // without password hashes
		if errors.As(err, new(*domain.Malformed)) {
			continue // a row that another program wrote badly; the others follow
		}
		check(err)
		fmt.Println(u.Email())
	}
	// Output:
	// ana@example.org
	// bob@example.org
}

func ExampleStore_ExportWithHashes() {
	store, _ := registered("ana")
	for u, err := range store.ExportWithHashes(ctx) {
		check(err)
		fmt.Println(u.Email(), u.State().PasswordHash.IsZero())
	}
	// Output: ana@example.org false
}

func ExampleStore_ExportIdentities() {
	store, users := registered("ana", "bob")
	who, err := domain.ParseIdentity("https://login.example", "4711")
	check(err)
	_, err = store.LinkIdentity(ctx, users[0].ID(), who)
	check(err)
	linked, malformed, err := store.ExportIdentities(ctx, users)
	check(err)
	fmt.Println(linked[users[0].ID()][0].Identity.Subject(), len(linked[users[1].ID()]), len(malformed))
	// Output: 4711 0 0
}
