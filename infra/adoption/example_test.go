package adoption_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/adoption"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/sqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// people returns a store on a database with a table of another program.
func people() *infra.Store {
	store, err := sqlite.Open(context.Background(), ":memory:")
	check(err)
	_, err = store.DB().Exec(`CREATE TABLE people (nr integer PRIMARY KEY, mail text, pw text, joined integer);
		INSERT INTO people VALUES
			(1, 'Ana@example.org', '$2b$10$emvnU9TXofJnBi/vNQKXKeliOe/BZE9kL2ryBYUhJJXhX0IGbVG7q', 1767225600),
			(2, 'ANA@example.org', '$2b$10$emvnU9TXofJnBi/vNQKXKeliOe/BZE9kL2ryBYUhJJXhX0IGbVG7q', 1767225700)`)
	check(err)
	return store
}

const peopleMapping = `{"table": "people", "columns": {
	"id": "nr", "email": "mail", "username": {"generate": true}, "hashed_password": "pw", "created_at": "joined"
}}`

func ExampleParseMapping() {
	m, err := adoption.ParseMapping(strings.NewReader(peopleMapping))
	check(err)
	fmt.Println(m.Table, m.Columns["email"].Column)
	_, err = adoption.ParseMapping(strings.NewReader(`{"table": "people"}`))
	fmt.Println(err)
	// Output:
	// people mail
	// map: does not say where id comes from
}

func ExampleInspect() {
	ctx := context.Background()
	store := people()
	m, err := adoption.ParseMapping(strings.NewReader(peopleMapping))
	check(err)
	hasher, err := password.New(password.Policy{})
	check(err)
	a, err := adoption.Inspect(ctx, store.DB(), migration.SQLite, adoption.Options{Mapping: m, Zone: "UTC", OnCollision: adoption.Oldest, Hasher: hasher})
	check(err)
	report := func(p adoption.Problem) error {
		if !p.Routine() {
			fmt.Println("row", p.Row, p.Field, p.Kind, p.Outcome)
		}
		return nil
	}
	found, err := a.Report(ctx, report) // changes nothing
	check(err)
	fmt.Println(found.Rows, "rows,", found.Quarantined, "to be quarantined; adopted before:", a.Done() != nil)

	adopted, err := a.Adopt(ctx, nil)
	check(err)
	check(a.Close())
	fmt.Println(adopted.Kept, "kept;", store.CheckMigrations(ctx))
	// Output:
	// row 1 username generated kept
	// row 2 email collision quarantined
	// 2 rows, 1 to be quarantined; adopted before: false
	// 1 kept; <nil>
}

func ExampleAdoption() {
	ctx := context.Background()
	store := people()
	m, err := adoption.ParseMapping(strings.NewReader(peopleMapping))
	check(err)
	hasher, err := password.New(password.Policy{})
	check(err)
	a, err := adoption.Inspect(ctx, store.DB(), migration.SQLite, adoption.Options{Mapping: m, Zone: "UTC", Hasher: hasher}) // OnCollision: Fail
	check(err)
	defer a.Close()
	found, err := a.Report(ctx, func(adoption.Problem) error { return nil })
	check(err)
	_, err = a.Adopt(ctx, func(adoption.Problem) error { return nil })
	fmt.Println(found.Blocking, "blocking:", err != nil)
	// Output: 1 blocking: true
}
