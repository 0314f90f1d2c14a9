package infra_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

func TestParsePosition(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1-0/0", "1-0/16B3748", "4294967295-FFFFFFFF/FFFFFFFF"} {
		p, err := infra.ParsePosition(text)
		if err != nil || p.String() != text || p.IsZero() != (text == "") {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"1", "0-0/1", "1-0", "1-/", "-1-0/1", "1-0/1/1", "1-100000000/0", "4294967296-0/0", "1-0/g", " 1-0/0"} {
		if p, err := infra.ParsePosition(text); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%q: %v, %v; want %s", text, p, err, domain.ErrInvalid)
		}
	}
}

// A position rises with each change on PostgreSQL, and is the zero one on SQLite, which takes no replicas.
func TestPosition(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		before, err := store.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Create(t.Context(), storetest.NewUser(t, "ana")); err != nil {
			t.Fatal(err)
		}
		after, err := store.Position(t.Context())
		if rises := store.Schema() != ""; err != nil || (before != after) != rises || before.IsZero() == rises {
			t.Errorf("%q, then %q, %v", before, after, err)
		}
	})
	if _, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), postgres.WithReplicas("postgres://localhost/app")); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("SQLite with replicas: %v; want %s", err, domain.ErrInvalid)
	}
}
