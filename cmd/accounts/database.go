package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

const (
	databaseVariable = "ACCOUNTS_DATABASE_URL"
	defaultDatabase  = "sqlite:accounts.db"
)

// What a database can be; also the names of the directories with its migrations.
const (
	onPostgres = "postgres"
	onSQLite   = "sqlite"
)

// databaseURL returns which kind of database the command is for, and its URL: for SQLite, the file's path.
func (p *program) databaseURL() (kind, address string, err error) {
	address = cmp.Or(p.database, os.Getenv(databaseVariable), defaultDatabase)
	scheme, rest, _ := strings.Cut(address, ":")
	switch {
	case scheme == "postgres" || scheme == "postgresql":
		return onPostgres, address, nil
	case scheme == "sqlite" && rest != "":
		return onSQLite, rest, nil
	}
	// The URL may hold a password, so it is not repeated.
	return "", "", invalid("database", "is neither postgres://… nor sqlite:PATH")
}

// open connects to the database as it is.
func (p *program) open(ctx context.Context) (*infra.Store, error) {
	kind, address, err := p.databaseURL()
	if err != nil {
		return nil, err
	}
	if kind == onSQLite {
		return sqlite.Open(ctx, address)
	}
	return postgres.Open(ctx, address)
}

// withStore calls work with a store whose schema is the program's. A SQLite file is migrated if it is not: it belongs to
// whoever runs the program. A PostgreSQL database may serve others, so it is refused with [domain.ErrPendingMigrations].
func (p *program) withStore(ctx context.Context, work func(*infra.Store) error) (err error) {
	store, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }() //nolint:contextcheck // closing takes no context

	ready := store.CheckMigrations
	if kind, _, _ := p.databaseURL(); kind == onSQLite {
		ready = store.Migrate
	}
	if err := ready(ctx); err != nil {
		return err
	}
	return work(store)
}

// refID returns the id that a REF in the form of an id names, and whether it has that form. The nil UUID has it: no account has
// that id, so that whoever looks for it finds none.
func refID(ref string) (domain.ID, bool) {
	if len(ref) != 36 {
		return domain.ID{}, false // another form of a UUID may be a username
	}
	parsed, err := uuid.Parse(ref)
	return domain.IDFromUUID(parsed), err == nil
}

// find returns the account that a REF names: an id, an e-mail address or a username.
func find(ctx context.Context, store *infra.Store, ref string) (*domain.User, error) {
	if id, ok := refID(ref); ok {
		return store.FindByID(ctx, id)
	}
	if strings.Contains(ref, "@") {
		email, err := domain.ParseEmail(ref)
		if err != nil {
			return nil, err
		}
		return store.FindByEmail(ctx, email)
	}
	username, err := domain.LookupUsername(ref)
	if err != nil {
		return nil, err
	}
	return store.FindByUsername(ctx, username)
}

// findID is find for those who need the id only; it does not ask the database for what is an id already.
func findID(ctx context.Context, store *infra.Store, ref string) (domain.ID, error) {
	if id, ok := refID(ref); ok && !id.IsZero() {
		return id, nil
	}
	user, err := find(ctx, store, ref)
	if err != nil {
		return domain.ID{}, err
	}
	return user.ID(), nil
}
