package infra_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

// secrets are the texts that no output may hold, each with what it is.
type secrets map[string]string

func (s secrets) add(what string, texts ...string) {
	for _, text := range texts {
		if len(text) > 5 {
			s[text] = what
		}
	}
}

// of adds what is stored of an account, and what its client has.
func (s secrets) of(subject *subject) {
	for _, u := range []*domain.User{subject.User, subject.other} {
		state := u.State()
		s.add("an address", u.Email().String(), u.PendingEmail().String(), u.Phone().String())
		s.add("a name", u.Username().String()+"@")
		s.add("a hash", state.PasswordHash.Stored())
		s.add("a digest", state.ResetToken.Stored(), state.VerificationToken.Stored())
		s.add("an entry of the sessions", state.Sessions...)
	}
	s.add("a token", subject.token.Reveal(), subject.grant.Token.Reveal())
	s.add("a digest", subject.token.Digest().Stored())
	s.add("a session", subject.grant.Session.ID.String())
}

// buffer is written by several goroutines.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

type writingObserver struct{ to *buffer }

func (o writingObserver) Begin(ctx context.Context, operation string) context.Context {
	_, _ = fmt.Fprintln(o.to, "begin", operation)
	return ctx
}

func (o writingObserver) End(_ context.Context, seen domain.Observation) {
	_, _ = fmt.Fprintf(o.to, "%+v %v\n", seen, seen.Err)
}

// TestNothingLeaks walks every operation with hooks, observers and the audit trail on, and searches all that came out for what went in.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	const client = "203.0.113.77"
	leaks := func(t *testing.T, slow bool, open func(...infra.Option) *infra.Store) {
		out := new(buffer)
		spans := tracetest.NewInMemoryExporter()
		reader := sdkmetric.NewManualReader()
		telemetry, err := otel.Observer(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		if err != nil {
			t.Fatal(err)
		}
		observers := []domain.Observer{
			telemetry, writingObserver{out}, infra.LogRefusals(slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		}
		store := open(infra.WithObserver(observers...), audit.WithTrail(audit.Options{}),
			infra.WithHook(func(_ context.Context, _ *infra.Tx, event domain.Event) error {
				event.Origin.Client = netip.Addr{} // which the caller has put there
				_, err := fmt.Fprintf(out, "%+v\n", event)
				return err
			}))
		unwanted := secrets{}
		origin := domain.WithOrigin(t.Context(), domain.Origin{RequestID: "request", Client: netip.MustParseAddr(client), Actor: "actor"})
		for _, o := range operations {
			s := prepared(t, store, store, o.before)
			s.ctx = origin
			if err := o.run(s); !errors.Is(err, o.fails) {
				t.Errorf("%s: %v", o.name, err)
			} else if err != nil {
				_, _ = fmt.Fprintln(out, err)
			}
			unwanted.of(s)
			if after, err := store.FindByID(origin, s.ID()); err == nil {
				s.User = after
				unwanted.of(s)
			}
		}
		unwanted.add("a password", "correct horse", "another horse")
		hasher, parts := password.Fast(), []string{
			"token_reused", "bad_credentials", "begin authenticate", "Kind:signed_in", `"msg":"accounts: authenticate"`,
		}
		if slow {
			parts = append(parts, "begin "+domain.OperationHash, "begin "+domain.OperationVerify, "accounts.hash.wait")
			if hasher, err = password.New(password.Policy{Observers: observers}); err != nil {
				t.Fatal(err)
			}
		}
		signIn(origin, t, store, hasher, out, unwanted, observers)

		var metrics metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &metrics); err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(out, "%+v\n%+v\n", spans.GetSpans(), metrics)
		trail := ""
		for _, line := range strings.Split(stored(t, store.DB()), "\n") {
			if strings.HasPrefix(line, "account_events") {
				trail += line + "\n"
			}
		}
		if strings.Count(trail, "\n") < 50 || !strings.Contains(trail, "203.0.113.0/24") || strings.Contains(trail, client) {
			t.Errorf("the trail is\n%s", trail)
		}
		unwanted.add("a client's address", client)
		text := out.String() + trail
		begin := make(map[string][]string) // the secrets, by their first six bytes
		for secret := range unwanted {
			begin[secret[:6]] = append(begin[secret[:6]], secret)
		}
		for i := range len(text) - 5 {
			for _, secret := range begin[text[i:i+6]] {
				if strings.HasPrefix(text[i:], secret) {
					t.Errorf("%s, %q, came out: %q", unwanted[secret], secret, text[max(0, i-200):min(len(text), i+200)])
				}
			}
		}
		if len(unwanted) < 100 {
			t.Errorf("%d secrets were looked for in %d bytes", len(unwanted), len(text))
		}
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s did not come out", part)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		leaks(t, true, func(options ...infra.Option) *infra.Store {
			return storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"), options...)
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		leaks(t, false, func(options ...infra.Option) *infra.Store { // SQLite's case tries the hasher's output
			return storetest.OpenPostgres(t, storetest.PostgresURL(t), options...)
		})
	})
}

// signIn does what an authenticator does.
func signIn(
	ctx context.Context, t *testing.T, store *infra.Store, hasher *password.Hasher, out *buffer, unwanted secrets, observers []domain.Observer,
) {
	t.Helper()
	authenticator, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{Observers: observers})
	if err != nil {
		t.Fatal(err)
	}
	u := created(t, store, nextName())
	failed := func(err error) {
		if err == nil {
			t.Error("no error")
		}
		_, _ = fmt.Fprintln(out, err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(of(authenticator.SetPassword(ctx, u.ID(), "correct horse")))
	check(of(authenticator.Authenticate(ctx, u.Email().String(), "correct horse")))
	failed(of(authenticator.Authenticate(ctx, u.Email().String(), "another horse")))
	failed(of(authenticator.Authenticate(ctx, "unknown@example.org", "another horse")))
	check(of(authenticator.ChangePassword(ctx, u.ID(), "correct horse", "another horse", domain.SessionID{})))
	reset, err := authenticator.IssueReset(ctx, u.ID(), 0)
	check(err)
	check(of(authenticator.Reset(ctx, reset.Token, "correct horse")))
	failed(of(authenticator.Reset(ctx, reset.Token, "correct horse")))
	verification, err := authenticator.IssueVerification(ctx, u.ID(), 0)
	check(err)
	check(of(authenticator.ConfirmEmail(ctx, verification.Token)))
	unwanted.add("a token", reset.Token.Reveal(), verification.Token.Reveal())
	unwanted.add("an address", u.Email().String(), "unknown@example.org")
	after, err := store.FindByID(ctx, u.ID())
	check(err)
	unwanted.add("a hash", after.State().PasswordHash.Stored())
}

// textRecorder keeps the texts of the statements that it executes.
type textRecorder struct {
	db    *sql.DB
	mu    sync.Mutex
	texts []string
}

func (r *textRecorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}

func (r *textRecorder) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	r.note(query)
	rows, err := r.db.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
	if err != nil {
		return nil, err // and no typed nil
	}
	return rows, nil
}

func (r *textRecorder) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r.note(query)
	result, err := r.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// TestValuesAreArguments walks every method, outside transactions and inside one, and searches the texts of the statements for the values that it
// was called with.
func TestValuesAreArguments(t *testing.T) {
	t.Parallel()
	plain := storetest.OpenSQLite(t, filepath.Join(t.TempDir(), "accounts.db"))
	recorder := &textRecorder{db: plain.DB()}
	store, err := infra.New(t.Context(), infra.Database{Dialect: migration.SQLite, DB: plain.DB(), Handle: recorder})
	if err != nil {
		t.Fatal(err)
	}
	created(t, store, "walk")
	methods := 0
	walk(t.Context(), store, arguments(t), func(string, error) { methods++ })
	walk(t.Context(), infra.Bind(store, recorder), arguments(t), func(string, error) { methods++ })
	if methods < 60 || len(recorder.texts) < 60 {
		t.Fatalf("%d methods sent %d statements", methods, len(recorder.texts))
	}
	for _, text := range recorder.texts {
		for _, value := range []string{"walk", "example.org", "argon2id", "+57300"} {
			if strings.Contains(text, value) {
				t.Errorf("%q in %s", value, text)
			}
		}
	}
}
