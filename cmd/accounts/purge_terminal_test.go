//go:build unix

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/storetest"
)

func TestPurgeShowsABarOnATerminal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "accounts.db")
	store := storetest.OpenSQLite(t, path)
	users := make([]*domain.User, manyStep+manyStep/2)
	for i := range users {
		users[i] = storetest.NewUser(t, fmt.Sprintf("user%d", i))
	}
	if refused, err := store.CreateMany(t.Context(), users); errors.Join(append(refused, err)...) != nil {
		t.Fatal(refused, err)
	}
	if _, err := store.DB().ExecContext(t.Context(), "UPDATE users SET created_at = '2020-01-01 00:00:00'"); err != nil {
		t.Fatal(err)
	}
	c := converse(t, "sqlite:"+path, "user", "purge", "--unverified-for", "1h", "--yes")
	c.waitFor("[#############.......] 1000 accounts deleted")
	c.end(0)
	if result := c.results.String(); !strings.HasPrefix(result, "purged:      1500\n") {
		t.Errorf("the result is %q", result)
	}
}
