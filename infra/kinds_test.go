package infra_test

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/storetest"
)

// arguments are what the walk below gives to parameters, by their type; the zero value where there is none.
func arguments(t *testing.T) map[reflect.Type]any {
	t.Helper()
	u := storetest.NewUser(t, "walk")
	phone, err := domain.ParsePhone("+573001112233")
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := domain.SessionList{}.Issue(u.ID(), time.Now(), domain.SessionPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[reflect.Type]any)
	for _, v := range []any{
		u, []*domain.User{u}, u.ID(), []domain.ID{u.ID()}, u.Email(), u.Username(), []domain.Email{u.Email()}, []domain.Username{u.Username()},
		domain.ListQuery{Filter: domain.Filter{CreatedBefore: time.Unix(0, 0)}}, phone, u.State().PasswordHash, domain.NewOneTimeToken().Digest(),
		domain.RestoreIdentity("https://issuer.example", "walk"), []domain.LinkedIdentity{{UserID: u.ID(), Identity: domain.RestoreIdentity("https://issuer.example", "walk")}},
		token, token.SessionID(), domain.Names{First: "Ada"}, 10, time.Now().Add(time.Hour), time.Hour,
		func(*domain.User) error { return nil },
		func(*infra.Tx) error { return nil },
	} {
		all[reflect.TypeOf(v)] = v
	}
	return all
}

// walk calls each method of a store or a Tx, with the arguments or with zero values, and reports its error.
func walk(ctx context.Context, target any, args map[reflect.Type]any, report func(method string, err error)) {
	v := reflect.ValueOf(target)
	for i := range v.NumMethod() {
		name, method := v.Type().Method(i).Name, v.Method(i)
		if slices.Contains([]string{"Close", "DB", "Now", "SQL", "Schema", "WithTx"}, name) {
			continue
		}
		in := make([]reflect.Value, 0, method.Type().NumIn())
		for j := range method.Type().NumIn() {
			typ := method.Type().In(j)
			switch {
			case method.Type().IsVariadic() && j == method.Type().NumIn()-1:
			case typ == reflect.TypeFor[context.Context]():
				in = append(in, reflect.ValueOf(ctx))
			case args[typ] != nil:
				in = append(in, reflect.ValueOf(args[typ]))
			default:
				in = append(in, reflect.Zero(typ))
			}
		}
		out := method.Call(in)
		if len(out) == 0 {
			continue
		}
		last := out[len(out)-1].Interface()
		if rows, ok := last.(iter.Seq2[*domain.User, error]); ok {
			last = nil
			for _, err := range rows {
				last = err
				break
			}
		}
		err, _ := last.(error)
		report(name, err)
	}
}

// TestEveryErrorHasAKind calls all methods in each state that makes them fail.
func TestEveryErrorHasAKind(t *testing.T) {
	args := arguments(t)
	expect := func(t *testing.T, want domain.Kind, mayPass ...string) func(string, error) {
		return func(method string, err error) {
			t.Helper()
			switch {
			case err == nil && !slices.Contains(mayPass, method):
				t.Errorf("%s: no error", method)
			case err != nil && domain.KindOf(err) != want:
				t.Errorf("%s: %v, of the kind %q; want %q", method, err, domain.KindOf(err), want)
			}
		}
	}
	anyKind := func(t *testing.T) func(string, error) {
		return func(method string, err error) {
			if err != nil && domain.KindOf(err) == "" {
				t.Errorf("%s: %v has no kind", method, err)
			}
		}
	}
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		late, cancelLate := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancelLate()

		walk(ctx, store, nil, anyKind(t))
		if err := store.InTx(ctx, func(tx *infra.Tx) error { walk(ctx, tx, nil, anyKind(t)); return errors.New("undo") }); err == nil {
			t.Error("no error")
		}
		walk(ctx, store.WithTx(nil), args, anyKind(t))
		for name, ended := range map[string]context.Context{"cancelled": cancelled, "late": late} {
			walk(ended, store, args, func(method string, err error) {
				if method != "Migrations" && (!errors.Is(err, ended.Err()) || domain.KindOf(err) != domain.ErrUnavailable) {
					t.Errorf("%s, %s: %v", name, method, err)
				}
			})
		}
		for _, call := range []func() error{
			func() error { return store.Create(ctx, nil) },
			func() error { _, err := store.CreateMany(ctx, []*domain.User{nil}); return err },
			func() error { _, err := store.Update(ctx, domain.NewID(), nil); return err },
			func() error { return store.InTx(ctx, nil) },
			func() error { return store.InTx(ctx, func(tx *infra.Tx) error { return tx.InTx(ctx, nil) }) },
		} {
			if err := call(); !errors.Is(err, domain.ErrInvalid) {
				t.Errorf("a nil argument: %v", err)
			}
		}

		if _, err := store.DB().Exec("ALTER TABLE users RENAME TO renamed; ALTER TABLE identities RENAME TO linked"); err != nil {
			t.Fatal(err)
		}
		walk(ctx, store, args, func(method string, err error) {
			if method == "CheckSchema" {
				expect(t, domain.ErrDrift)(method, err)
				return
			}
			expect(t, domain.ErrPendingMigrations, "InTx", "Migrate", "Migrations", "CheckMigrations", "Health", "Position")(method, err)
		})
		if _, err := store.DB().Exec("ALTER TABLE renamed RENAME TO users; ALTER TABLE linked RENAME TO identities"); err != nil {
			t.Fatal(err)
		}

		if strings.HasSuffix(t.Name(), "New") {
			return
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		walk(ctx, store, args, expect(t, domain.ErrUnavailable, "Migrations", "Position")) // the position of SQLite is known
	})
}

// TestRevokedPrivilege calls all methods as a role that may do nothing.
func TestRevokedPrivilege(t *testing.T) {
	address := storetest.PostgresDatabaseURL(t)
	owner := storetest.OpenPostgres(t, address)
	name := "walker_" + strings.ReplaceAll(domain.NewID().String(), "-", "")
	if _, err := owner.DB().Exec("CREATE ROLE " + name + " LOGIN PASSWORD 'x'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = owner.DB().Exec("DROP ROLE " + name) })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "x")
	for driver, open := range map[string]func(context.Context, string, ...infra.Option) (*infra.Store, error){"lib-pq": postgres.Open, "pgx": pgx.Open} {
		store, err := open(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		walk(t.Context(), store, arguments(t), func(method string, err error) {
			switch method {
			case "InTx", "Migrations", "CheckSchema", "Position":
			default:
				if kind := domain.KindOf(err); kind != domain.ErrInternal || strings.Contains(err.Error(), "walk@") {
					t.Errorf("%s, %s: %v, of the kind %q; want internal", driver, method, err, kind)
				}
			}
		})
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRefusalsOfTheApplicationsRules meets an index, a trigger, and a column that the application added.
func TestRefusalsOfTheApplicationsRules(t *testing.T) {
	onEachDriver(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		exec := func(statement string) {
			t.Helper()
			if _, err := store.DB().Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		created(t, store, "ana")
		exec("CREATE UNIQUE INDEX app_idx ON users (lower(first_name))")
		u := created(t, store, "bob")
		if _, err := store.SetNames(ctx, u.ID(), domain.Names{First: "Ana"}); err != nil {
			t.Fatal(err)
		}
		var refused *domain.Error
		_, err := store.SetNames(ctx, find(t, store, "ana").ID(), domain.Names{First: "Ana"})
		if !errors.As(err, &refused) || refused.Kind != domain.ErrTaken || refused.Field != "app_idx" {
			t.Errorf("an index of the application: %v", err)
		}
		if onSQLite(store) {
			exec("CREATE TRIGGER no_phone BEFORE UPDATE OF phone ON users BEGIN SELECT RAISE(ABORT, 'secret words'); END")
		} else {
			exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'secret words'; END $$`)
			exec("CREATE TRIGGER no_phone BEFORE UPDATE OF phone ON users FOR EACH ROW EXECUTE FUNCTION refuse()")
		}
		phone, err := domain.ParsePhone("+573001112233")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.SetPhone(ctx, u.ID(), phone); !errors.Is(err, domain.ErrInvalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("a trigger of the application: %v", err)
		}
	})
}
