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
	exported, err := bulk.Export(ctx, store, os.Stdout, bulk.ExportOptions{Format: bulk.CSV})
	fmt.Println(exported.Accounts, err)
	for _, err := range store.ExportWithHashes(ctx) {
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// id,email,pending_email,username,first_name,last_name,phone,phone_verified_at,is_active,is_verified,has_password,last_login,sessions,failed_login_attempts,locked_until,created_at,updated_at,version
	// 0 <nil>
}
