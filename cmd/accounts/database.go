package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
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
		path, err := sqlitePath(rest)
		return onSQLite, path, err
	}
	// The URL may hold a password, so it is not repeated.
	return "", "", invalid("database", "is neither postgres://… nor sqlite:PATH")
}

// sqlitePath returns the path of a file in a URL, of which rest is what follows "sqlite:". That is the path as it is, or, behind "//", what
// SQLite's own URLs have behind "file:" (https://sqlite.org/uri.html): a host, which is this one, and an absolute path with percent-encoding.
func sqlitePath(rest string) (string, error) {
	if !strings.HasPrefix(rest, "//") {
		return rest, nil
	}
	parsed, err := url.Parse("file:" + rest)
	switch {
	case err != nil:
		return "", invalid("database", "is not a URL: expected sqlite:PATH, or sqlite:///PATH with percent-encoding")
	case parsed.Host != "" && parsed.Host != "localhost":
		return "", invalid("database", fmt.Sprintf("has the host %q: expected sqlite:PATH, or sqlite:///PATH for an absolute path", parsed.Host))
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return "", invalid("database", "has parameters: expected a path alone, in which a question mark is written %3F and a # %23")
	case len(parsed.Path) < len("/x"):
		return "", invalid("database", "has no path: expected sqlite:PATH, or sqlite:///PATH for an absolute path")
	}
	path := parsed.Path
	if runtime.GOOS == "windows" { // file:///C:/x
		path = strings.TrimPrefix(path, "/")
	}
	return path, nil
}

// openPostgres is a variable for the tests, which would spend much of their time in connecting.
var openPostgres = postgres.Open

// open connects to the database as it is.
func (p *program) open(ctx context.Context) (*infra.Store, error) {
	kind, address, err := p.databaseURL()
	if err != nil {
		return nil, err
	}
	if kind == onSQLite {
		return sqlite.Open(ctx, address, p.audited())
	}
	return openPostgres(ctx, address, p.audited())
}

// withStore calls work with a store whose schema is the program's. A SQLite file is migrated if it is not: it belongs to
// the user who runs the program. A PostgreSQL database may serve others, so it is refused with [domain.ErrPendingMigrations].
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
		return p.aboutFile(err)
	}
	return work(store)
}

// aboutFile names the file in an error of its migrations.
func (p *program) aboutFile(err error) error {
	kind, path, _ := p.databaseURL()
	known := new(domain.Error)
	if kind != onSQLite || !errors.Is(err, domain.ErrUnavailable) || errors.As(err, &known) && (known.Cause != nil || known.Field == "database") {
		return err
	}
	return fmt.Errorf("%q: %w", path, err)
}

// refID returns the id that a REF in the form of an id names, and whether it has that form. The nil UUID has it: no account has
// that id, so that a lookup finds none.
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
