package bulk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/softbee/accounts/infra/bulk"
	"github.com/softbee/accounts/infra/sqlite"
)

// The file has the names of the fields in its first line.
func ExampleExport() {
	dir, _ := os.MkdirTemp("", "accounts")
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	store, err := sqlite.Open(ctx, filepath.Join(dir, "accounts.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	fmt.Println(store.Migrate(ctx))
	exported, err := bulk.Export(ctx, store, os.Stderr, bulk.ExportOptions{Format: bulk.CSV})
	fmt.Println(exported.Accounts, err)
	for _, err := range store.ExportWithHashes(ctx) {
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// 0 <nil>
}
