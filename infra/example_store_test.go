package infra_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	_ "modernc.org/sqlite" // the driver of a pool of the application

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/domaintest"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/sqlite"
)

func ExampleNew() {
	// What the package of a driver does. Applications call its Open, or its New with a pool of their own.
	db, err := sql.Open("sqlite", "file::memory:?_pragma=foreign_keys(1)&_texttotime=1&_time_format=sqlite")
	check(err)
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection has a database in memory of its own
	store, err := infra.New(ctx, infra.Database{Dialect: migration.SQLite, DB: db})
	check(err)
	check(store.Migrate(ctx))
	n, err := store.Count(ctx, domain.Filter{})
	check(err)
	fmt.Println(n)
	// Output: 0
}

func ExampleStore_Migrate() {
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	defer store.Close()
	fmt.Println(errors.Is(store.CheckMigrations(ctx), domain.ErrPendingMigrations))
	check(store.Migrate(ctx)) // any number of programs may do it at once; it changes nothing where all is applied
	fmt.Println(store.CheckMigrations(ctx))
	// Output:
	// true
	// <nil>
}

func ExampleStore_CheckMigrations() {
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	if err := store.CheckMigrations(ctx); errors.Is(err, domain.ErrPendingMigrations) {
		fmt.Println("run accounts migrate up before this program") // as where the role of the program may not change tables
	}
	// Output: run accounts migrate up before this program
}

func ExampleStore_Migrations() {
	store, _ := registered()
	runner, err := store.Migrations()
	check(err)
	status, err := runner.Status(ctx)
	check(err)
	fmt.Println(len(status.Pending), "pending")
	// Output: 0 pending
}

func ExampleStore_Close() {
	store, err := sqlite.Open(ctx, ":memory:")
	check(err)
	check(store.Migrate(ctx))
	check(store.Close()) // what Open opened; the pool of a store made by New stays open
	_, err = store.Count(ctx, domain.Filter{})
	fmt.Println(errors.Is(err, domain.ErrUnavailable))
	// Output: true
}

func ExampleStore_Health() {
	store, _ := registered()
	health, err := store.Health(ctx) // as for /readyz
	check(err)
	fmt.Println(health.Reachable, health.Writable, health.Migrated)
	// Output: true true true
}

func ExampleWithClock() {
	clock := domaintest.NewClock()
	store, err := sqlite.Open(ctx, ":memory:", infra.WithClock(clock.Now))
	check(err)
	check(store.Migrate(ctx))
	ana := newUser("ana")
	check(store.Create(ctx, ana))
	grant, err := store.IssueToken(ctx, ana.ID(), domain.SessionPolicy{})
	check(err)
	clock.Advance(domain.DefaultSessionIdle) // two weeks later
	_, _, err = store.FindByToken(ctx, grant.Token)
	fmt.Println(errors.Is(err, domain.ErrTokenExpired))
	// Output: true
}

func ExampleWithTrail() {
	// What an entry says of where a change comes from: here the actor alone. Applications call audit.WithTrail, which has more.
	actor := func(origin domain.Origin) (requestID, client, actor string) { return "", "", origin.Actor }
	store, err := sqlite.Open(ctx, ":memory:", infra.WithTrail(actor, domain.EventDeleted))
	check(err)
	fmt.Println(store.Migrate(ctx))
	// Output: <nil>
}

func ExampleWithHook() {
	welcome := func(ctx context.Context, tx *infra.Tx, event domain.Event) error {
		// In the transaction of the registration: the mail is queued with the account, or neither is stored.
		_, err := tx.Exec(ctx, "queue mail", "INSERT INTO mails (account, request) VALUES (?, ?)", event.UserID.UUID(), event.Origin.RequestID)
		return err
	}
	store, err := sqlite.Open(ctx, ":memory:", infra.WithHook(welcome, domain.EventRegistered, domain.EventImported))
	check(err)
	check(store.Migrate(ctx))
	_, err = store.DB().Exec("CREATE TABLE mails (account text, request text)")
	check(err)

	request := domain.WithOrigin(ctx, domain.Origin{RequestID: "4711", Client: netip.MustParseAddr("192.0.2.1")})
	check(store.Create(request, newUser("ana")))
	var id string
	check(store.DB().QueryRow("SELECT request FROM mails").Scan(&id))
	fmt.Println(id)
	// Output: 4711
}

// counting counts operations by name.
type counting map[string]int

func (c counting) Begin(ctx context.Context, _ string) context.Context { return ctx }

func (c counting) End(_ context.Context, o domain.Observation) { c[o.Operation]++ }

func ExampleWithObserver() {
	operations := counting{}
	store, err := sqlite.Open(ctx, ":memory:", infra.WithObserver(operations)) // infra/otel has one for spans and metrics
	check(err)
	check(store.Migrate(ctx))
	check(store.Create(ctx, newUser("ana")))
	check(store.Create(ctx, newUser("bob")))
	fmt.Println(operations["create user"])
	// Output: 2
}

func ExampleLogRefusals() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "duration" { // which differ each time
				return slog.Attr{}
			}
			return a
		},
	}))
	store, err := sqlite.Open(ctx, ":memory:", infra.WithObserver(infra.LogRefusals(logger)))
	check(err)
	check(store.Migrate(ctx))
	check(store.Create(ctx, newUser("ana")))
	_ = store.Create(ctx, newUser("ana"))
	// Output: level=DEBUG msg="accounts: create user" kind=taken cause="SQLite 2067, constraint users.username" attempts=1
}

func ExampleTx_InTx() {
	store, users := registered("ana")
	err := store.InTx(ctx, func(tx *infra.Tx) error {
		// A savepoint: on PostgreSQL a statement that fails ends the transaction otherwise.
		err := tx.InTx(ctx, func(tx *infra.Tx) error { return tx.Create(ctx, newUser("ana")) })
		if !errors.Is(err, domain.ErrTaken) {
			return err
		}
		_, err = tx.Verify(ctx, users[0].ID())
		return err
	})
	check(err)
	ana, err := store.FindByID(ctx, users[0].ID())
	check(err)
	fmt.Println(ana.IsVerified())
	// Output: true
}

func ExampleStore_InTx_options() {
	store, users := registered("ana")
	var n int
	err := store.InTx(ctx, func(tx *infra.Tx) (err error) {
		n, err = tx.Count(ctx, domain.Filter{})
		if err == nil {
			_, err = tx.FindByID(ctx, users[0].ID())
		}
		return err
	}, infra.Isolation(sql.LevelSerializable), infra.ReadOnly(), infra.Retry(3)) // the function may run again: it does nothing outside
	check(err)
	fmt.Println(n)
	// Output: 1
}

func ExampleTx_Query() {
	// A package that keeps tables beside the store's writes each statement once, for every driver.
	store, users := registered("ana")
	err := store.InTx(ctx, func(tx *infra.Tx) error {
		name := ""
		err := tx.Query(ctx, "read name", "SELECT username FROM "+tx.Table("users")+" WHERE id = ?", []any{users[0].ID().UUID()},
			func(rows infra.Rows) error { return rows.Scan(&name) })
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "touch", "UPDATE "+tx.Table("users")+" SET updated_at = updated_at WHERE username = ?", name)
		fmt.Println(name, n, tx.Dialect())
		return err
	})
	check(err)
	// Output: ana 1 sqlite3
}

// rowsOf and handleOf show what Bind needs of a driver that is not one of database/sql; infra/pgx has it for pgx.
type handleOf struct{ tx *sql.Tx }

func (h handleOf) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	return h.tx.QueryContext(ctx, query, args...) //nolint:rowserrcheck // by the reader of the rows
}

func (h handleOf) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := h.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func ExampleBind() {
	store, _ := registered()
	tx, err := store.DB().BeginTx(ctx, nil)
	check(err)
	defer tx.Rollback()
	check(infra.Bind(store, handleOf{tx}).Create(ctx, newUser("ana")))
	check(tx.Commit())
	n, err := store.Count(ctx, domain.Filter{})
	check(err)
	fmt.Println(n)
	// Output: 1
}

func ExampleStore_Position() {
	store, users := registered("ana")
	position, err := store.Position(ctx) // once what another process shall see has been committed
	check(err)
	header := position.String() // which goes to that process

	position, err = infra.ParsePosition(header)
	check(err)
	found, err := store.FindByID(infra.WithPosition(ctx, position), users[0].ID()) // and not from a replica that lacks it
	check(err)
	fmt.Println(found.Email())
	// Output: ana@example.org
}
