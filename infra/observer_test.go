package infra_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

// recordingObserver keeps what it sees.
type recordingObserver struct {
	mu   sync.Mutex
	open int
	seen []domain.Observation
}

type observedKey struct{}

func (r *recordingObserver) Begin(ctx context.Context, operation string) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	return context.WithValue(ctx, observedKey{}, operation)
}

func (r *recordingObserver) End(ctx context.Context, o domain.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	if ctx.Value(observedKey{}) != o.Operation {
		o.Operation += ", with another context"
	}
	r.seen = append(r.seen, o)
}

// take returns what was seen since it was last called.
func (r *recordingObserver) take() []domain.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

func onBothObserved(t *testing.T, test func(t *testing.T, store *infra.Store, observer *recordingObserver, log *bytes.Buffer)) {
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			observer, log := new(recordingObserver), new(bytes.Buffer)
			option := infra.WithObserver(observer, infra.LogRefusals(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
			var store *infra.Store
			if database == "sqlite" {
				store = storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), option)
			} else {
				store = storetest.OpenPostgres(t, storetest.PostgresURL(t), option)
			}
			test(t, store, observer, log)
		})
	}
}

func TestObserver(t *testing.T) {
	onBothObserved(t, func(t *testing.T, store *infra.Store, observer *recordingObserver, log *bytes.Buffer) {
		ctx := t.Context()
		observer.take()
		u := created(t, store, "ana")
		if _, err := store.FindByID(ctx, u.ID()); err != nil {
			t.Fatal(err)
		}
		if _, err := store.FindByID(ctx, domain.NewID()); err == nil {
			t.Fatal("found")
		}
		failed := errors.New("failed")
		if err := store.InTx(ctx, func(tx *infra.Tx) error { return errors.Join(tx.Delete(ctx, u.ID()), failed) }); !errors.Is(err, failed) {
			t.Fatal(err)
		}
		twin := storetest.NewUser(t, "bob")
		if err := twin.ChangeEmail(u.Email()); err != nil {
			t.Fatal(err)
		}
		taken := store.Create(ctx, twin)
		var got []string
		for _, o := range observer.take() {
			got = append(got, fmt.Sprintf("%s: %d attempts, %d rows, %s", o.Operation, o.Attempts, o.Rows, domain.KindOf(o.Err)))
			if o.Duration <= 0 || o.Database == "" {
				t.Errorf("%+v", o)
			}
			if o.Err != nil && !strings.Contains(o.Operation, "transaction") && o.Cause == "" {
				t.Errorf("%s has no cause", o.Operation)
			}
		}
		if want := []string{
			"create user: 1 attempts, 1 rows, ", "find user by id: 1 attempts, 1 rows, ", "find user by id: 1 attempts, 0 rows, ",
			"delete user: 1 attempts, 1 rows, ", "transaction: 1 attempts, 0 rows, ", "create user: 1 attempts, 0 rows, taken",
		}; !slices.Equal(got, want) {
			t.Errorf("seen %q; want %q", got, want)
		}
		if !errors.Is(taken, domain.ErrTaken) || !strings.Contains(log.String(), "kind=taken") {
			t.Errorf("%v; the log is %s", taken, log)
		}
		if observer.open != 0 {
			t.Errorf("%d operations have not ended", observer.open)
		}
		if _, err := store.DB().Exec("ALTER TABLE users RENAME TO gone"); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		_, _ = store.FindByEmail(ctx, u.Email())
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "pending_migrations") {
			t.Errorf("the log is %s", log)
		}
	})
}

// TestObserverSeesNoValue calls all methods and looks in what came out for what went in.
func TestObserverSeesNoValue(t *testing.T) {
	onBothObserved(t, func(t *testing.T, store *infra.Store, observer *recordingObserver, log *bytes.Buffer) {
		created(t, store, "walk")
		walk(t.Context(), store, arguments(t), func(string, error) {})
		text := log.String()
		for _, o := range observer.take() {
			text += fmt.Sprintf("%+v\n", o)
		}
		for _, secret := range []string{"walk", "example.org", "argon2id", "+57300"} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%q in %q", secret, text[max(0, i-100):min(len(text), i+100)])
			}
		}
	})
}

func TestMigrationsAreObserved(t *testing.T) {
	t.Parallel()
	observer := new(recordingObserver)
	storetest.OpenSQLite(t, ":memory:", infra.WithObserver(observer))
	seen := observer.take()
	for _, operation := range []string{"migrate", "apply migration"} {
		if !slices.ContainsFunc(seen, func(o domain.Observation) bool { return o.Operation == operation }) {
			t.Errorf("seen %v; want %s among it", seen, operation)
		}
	}
	if observer.open != 0 {
		t.Errorf("%d operations have not ended", observer.open)
	}
}

// TestEveryOperationIsObserved runs each change of the store, calls each of its readers and each method of an authenticator: the observer sees each begin and end.
func TestEveryOperationIsObserved(t *testing.T) {
	onBothObserved(t, func(t *testing.T, store *infra.Store, observer *recordingObserver, _ *bytes.Buffer) {
		observer.take()
		saw := func(name string) (seen []domain.Observation) {
			t.Helper()
			seen = observer.take()
			if len(seen) == 0 {
				t.Errorf("%s was not observed", name)
			}
			if observer.open != 0 {
				t.Errorf("%s: %d operations have not ended", name, observer.open)
			}
			return seen
		}
		for _, o := range operations {
			s := prepared(t, store, store, o.before)
			observer.take()
			if err := o.run(s); !errors.Is(err, o.fails) {
				t.Errorf("%s: %v", o.name, err)
			}
			saw(o.name)
			_ = store.Delete(t.Context(), s.ID())
		}
		observer.take()
		of := func(names ...string) func(string, error) {
			return func(name string, _ error) {
				if !slices.Contains(names, name) {
					observer.take()
					return
				}
				saw(name)
			}
		}
		walk(t.Context(), store, arguments(t), of("FindByID", "FindByIDs", "FindByEmails", "FindByUsernames", "FindByEmail", "FindByUsername", "FindByPhone",
			"FindByIdentity", "FindByToken", "ExistsByEmail", "ExistsByUsername", "List", "Count", "Identities", "Sessions", "CountSessions", "Export",
			"ExportIdentities", "InTx", "Health"))
		hasher, err := password.Fast(), error(nil)
		if onSQLite(store) { // once will do
			hasher, err = password.New(password.Policy{Observers: []domain.Observer{observer}})
		}
		if err != nil {
			t.Fatal(err)
		}
		authenticator, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{Observers: []domain.Observer{observer}})
		if err != nil {
			t.Fatal(err)
		}
		walk(t.Context(), authenticator, arguments(t), func(name string, err error) {
			own := 0
			for _, o := range saw(name) {
				if o.Database == "" && o.Operation != domain.OperationHash && o.Operation != domain.OperationVerify {
					own++
					if !errors.Is(err, o.Err) || !errors.Is(o.Err, err) {
						t.Errorf("%s returned %v and was observed with %v", name, err, o.Err)
					}
				}
			}
			if own != 1 {
				t.Errorf("%s was observed %d times", name, own)
			}
		})
	})
}
