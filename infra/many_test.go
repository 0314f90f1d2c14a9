package infra_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/storetest"
)

func TestFindByIDsReturnsTheOthersOfAMalformedRow(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		var ids []domain.ID
		for _, name := range []string{"ana", "eva", "ida"} {
			u := storetest.NewUser(t, name)
			if err := store.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, u.ID())
		}
		if _, err := store.DB().ExecContext(t.Context(), "UPDATE users SET email = username || '@example@' WHERE username <> 'eva'"); err != nil {
			t.Fatal(err)
		}
		found, err := store.FindByIDs(t.Context(), append(ids, domain.NewID()))
		var malformed *domain.Malformed
		if !errors.As(err, &malformed) || malformed.Column != "email" || domain.KindOf(err) != domain.ErrInvalid {
			t.Errorf("error %v", err)
		}
		if len(found) != 4 || found[0] != nil || found[1] == nil || found[1].ID() != ids[1] || found[2] != nil || found[3] != nil {
			t.Errorf("found %v", found)
		}
	})
}

// An account to which a table of the application refers stays, and keeps no other from being deleted.
func TestPurgeLeavesWhatIsReferredTo(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		exec := func(query string) {
			t.Helper()
			if _, err := store.DB().ExecContext(ctx, query); err != nil {
				t.Fatal(err)
			}
		}
		ids := make(map[domain.ID]string)
		for _, name := range []string{"user1", "user2", "user3", "user4", "user5"} {
			u := storetest.NewUser(t, name)
			if err := store.Create(ctx, u); err != nil {
				t.Fatal(err)
			}
			ids[u.ID()] = name
		}
		exec("UPDATE users SET created_at = '2020-01-01 00:00:00'")
		exec("CREATE TABLE orders (account varchar(50) REFERENCES users (username))")
		exec("INSERT INTO orders VALUES ('user2'), ('user4')")
		names := func(ids []domain.ID, all map[domain.ID]string) string {
			var found []string
			for _, id := range ids {
				found = append(found, all[id])
			}
			slices.Sort(found)
			return strings.Join(found, " ")
		}
		// In a transaction of the application, which goes on; then for good.
		purge := func(repository domain.Repository) {
			t.Helper()
			var deleted, referenced []domain.ID
			query := domain.ListQuery{Filter: domain.Filter{UnverifiedSince: time.Now().Add(-time.Hour)}, Limit: 2}
			for steps := 0; ; steps++ {
				purged, err := repository.Purge(ctx, query)
				if err != nil || steps > 5 {
					t.Fatal(steps, err)
				}
				deleted, referenced = append(deleted, purged.IDs...), append(referenced, purged.Referenced...)
				if query.After = purged.Next; purged.Done {
					break
				}
			}
			if names(deleted, ids) != "user1 user3 user5" || names(referenced, ids) != "user2 user4" {
				t.Errorf("deleted %s; referred to are %s", names(deleted, ids), names(referenced, ids))
			}
		}
		undo := errors.New("undo")
		if err := store.InTx(ctx, func(tx *infra.Tx) error { purge(tx); return undo }); !errors.Is(err, undo) {
			t.Fatal(err)
		}
		purge(store)
		if n, err := store.Count(ctx, domain.Filter{}); n != 2 || err != nil {
			t.Errorf("%d accounts stay, %v", n, err)
		}
	})
}

// SQLite's indexes of docs/lists.md serve what they are for.
func TestOptionalIndexesOnSQLite(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	_, after, _ := strings.Cut(string(document), "SQLite:\n\n```sql\n")
	statements, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("docs/lists.md has no indexes for SQLite")
	}
	if _, err := store.DB().ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
	explained := func(query domain.ListQuery) string {
		t.Helper()
		recorder := &planRecorder{db: store.DB()}
		recording, err := infra.New(t.Context(), infra.Database{Dialect: migration.SQLite, DB: store.DB(), Handle: recorder})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := recording.List(t.Context(), query); err == nil {
			t.Fatal("the recorder returned rows")
		}
		return recorder.plan
	}
	name, nameErr := domain.ParseNamePrefix("é")
	host, hostErr := domain.ParseMailDomain("example.org")
	if err := errors.Join(nameErr, hostErr); err != nil {
		t.Fatal(err)
	}
	u := storetest.NewUser(t, "ana")
	for _, test := range []struct {
		query  domain.ListQuery
		want   []string
		sorted bool
	}{
		{domain.ListQuery{Order: domain.OrderLastLogin}, []string{"SEARCH users USING INDEX users_last_login (<expr>>?)"}, false},
		{
			domain.ListQuery{Order: domain.OrderLastLogin, Descending: true, After: domain.ListQuery{Order: domain.OrderLastLogin, Descending: true}.CursorAfter(u)},
			[]string{"SEARCH users USING INDEX users_last_login (<expr><?)"}, false,
		},
		{
			domain.ListQuery{Order: domain.OrderLastLogin, Filter: domain.Filter{SignedInFrom: time.Now(), SignedInBefore: time.Now()}},
			[]string{"SEARCH users USING INDEX users_last_login (<expr>>? AND <expr><?)"}, false,
		},
		{domain.ListQuery{}, []string{"SEARCH users USING INDEX users_created_at ((created_at,id)>(?,?))"}, false},
		{domain.ListQuery{Descending: true, After: domain.ListQuery{Descending: true}.CursorAfter(u)}, []string{"SEARCH users USING INDEX users_created_at ((created_at,id)<(?,?))"}, false},
		{domain.ListQuery{Order: domain.OrderEmail, Descending: true}, []string{"USING INDEX users_email_key"}, false},
		{domain.ListQuery{Order: domain.OrderUsername}, []string{"SEARCH users USING INDEX users_username_key (username>?)"}, false},
		{domain.ListQuery{Filter: domain.Filter{Domain: host}}, []string{"USING INDEX users_email_domain (<expr>=? AND (created_at,id)>(?,?))"}, false},
		{domain.ListQuery{Filter: domain.Filter{Name: name}}, []string{"users_first_name", "users_last_name"}, true},
	} {
		plan := explained(test.query)
		for _, want := range test.want {
			if !strings.Contains(plan, want) {
				t.Errorf("%+v: %s; want %s", test.query, plan, want)
			}
		}
		if strings.Contains(plan, "TEMP B-TREE FOR ORDER BY") != test.sorted {
			t.Errorf("%+v: %s", test.query, plan)
		}
	}
}

// planRecorder explains each query instead of carrying it out.
type planRecorder struct {
	db   *sql.DB
	plan string
}

func (r *planRecorder) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	rows, err := r.db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		r.plan += detail + "\n"
	}
	return nil, errors.Join(rows.Err(), errors.New("explained"))
}

func (r *planRecorder) Exec(context.Context, string, ...any) (int64, error) { return 0, nil }
