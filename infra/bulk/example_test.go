package bulk_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/softbee/accounts/infra/bulk"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/sqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleImport() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	check(store.Migrate(ctx))
	hasher, err := password.New(password.Policy{})
	check(err)
	const file = `email,username,hashed_password
Ana@example.org,ana,$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW
bob,bob,$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW
`
	summary, err := bulk.Import(ctx, store, strings.NewReader(file), bulk.Options{
		Format:    bulk.CSV,
		CheckHash: hasher.Check,
		Refused: func(line int, err error) error {
			fmt.Println("line", line, err)
			return nil // go on
		},
	})
	check(err)
	fmt.Println(summary.Imported, "imported,", summary.Failed, "refused") // another run skips what is there
	// Output:
	// line 3 email: has no @
	// 1 imported, 1 refused
}

func ExampleFormatOf() {
	format, err := bulk.FormatOf("accounts.csv")
	check(err)
	fmt.Println(format)
	format, err = bulk.ParseFormat("jsonl")
	check(err)
	fmt.Println(format == bulk.JSONLines)
	// Output:
	// csv
	// true
}

func ExampleParseFormat() {
	_, err := bulk.ParseFormat("xml")
	fmt.Println(err)
	// Output: format: is neither jsonl nor csv
}
