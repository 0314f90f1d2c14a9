// Package adoption takes over a table of accounts that another program made: it turns the table into this program's, keeps
// every account that can be kept, with its password, and quarantines the others. It works on PostgreSQL.
//
// An adoption has two parts. The first one reads the table in batches and writes what the rows become into a table of its
// own, in the schema accounts_adoption; the accounts themselves are not touched, and the other program may go on. The second
// part is one transaction that holds the table locked: it takes up what was changed meanwhile, quarantines, converts the
// columns by a migration that Atlas plans, compares the outcome with the declared schema and records the history of migrations
// as begun. So a process that is killed leaves the accounts either as they were or adopted, and the next one goes on
// where it stopped.
//
// The predecessor's table, users with uuid keys, is converted in place: foreign keys, privileges and triggers stay. A table
// that a [Mapping] describes is copied into a new table users and left as it is.
package adoption

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"

	"github.com/softbee/accounts/domain"
	files "github.com/softbee/accounts/ent/migrate/postgres"
	"github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration"
)

// Rule says which of several accounts that would have the same e-mail address or username is kept.
type Rule string

// The rules. An account whose time of creation is unknown is neither newest nor oldest.
const (
	Fail   Rule = "fail"   // none: nothing is adopted while there is a row that cannot be kept
	Newest Rule = "newest" // the one created last
	Oldest Rule = "oldest" // the one created first
)

// Options are the choices of an adoption.
type Options struct {
	// Mapping describes a table other than the predecessor's.
	Mapping *Mapping

	// Zone is the IANA name of the time zone in which times without one are to be read. Without it they are taken as UTC
	// for the report, and [Adoption.Adopt] refuses.
	Zone string

	// OnCollision is Fail if empty. With Newest and Oldest rows that cannot be kept at all are quarantined as well.
	OnCollision Rule

	// Hasher tells which stored hashes it can verify. No hash is computed. It is needed.
	Hasher domain.PasswordHasher

	// Progress, if set, is called from time to time with how many of the rows have been read.
	Progress func(done, total int64)
}

// Adoption is a table that was inspected and a plan for it. It holds a connection until Close and is not safe for concurrent
// use.
type Adoption struct {
	// Columns says what becomes of each column, of the table and of this program's.
	Columns []ColumnChange
	// Statements are those that convert the table, in their order; those that move rows are not among them.
	Statements []string
	// Obstacles are reasons why Adopt would refuse, whatever the rows are, for people.
	Obstacles []string

	conn    *sql.Conn
	schema  string // in which the tables are
	driver  migrate.Driver
	runner  *migration.Runner
	options Options
	source  *source
	target  *target
	done    *Summary // of an earlier run that finished
	file    *file    // of SQLite; nil on PostgreSQL
}

// Summary counts what an adoption does to the rows.
type Summary struct {
	Table       string           `json:"table"`
	Zone        string           `json:"zone"`        // in which times without a zone are read; empty if there are none
	Rows        int64            `json:"rows"`        // in the table
	Kept        int64            `json:"kept"`        // accounts
	Quarantined int64            `json:"quarantined"` // rows that are not kept
	Blocking    int64            `json:"blocking"`    // rows that need a rule; with Newest and Oldest there are none
	Problems    map[string]int64 `json:"problems"`    // by kind
	Version     string           `json:"version"`     // the migration at which the history begins
	Adopted     bool             `json:"adopted"`
	At          *time.Time       `json:"at"` // of the adoption
}

var settings = []string{
	"SET statement_timeout = 0",
	"SET idle_in_transaction_session_timeout = 0",
	"SET lock_timeout = '5s'",
	"SET TimeZone = 'UTC'",
	"SET row_security = off",          // which would hide rows, and so becomes an error
	"SET quote_all_identifiers = off", // by which Atlas would read expressions as other ones
	// A server that can, since version 14, notices in the midst of a statement that this process is gone.
	`SELECT set_config('client_connection_check_interval', '1s', false)
		WHERE current_setting('server_version_num')::integer >= 140000`,
}

// Inspect reads the table's structure and plans its conversion. Nothing is changed. The error is [domain.ErrInvalid] if the
// mapping does not fit the table, [domain.ErrConflict] if the database has a history of migrations and was not adopted, and
// [domain.ErrNotFound] if there is no such table.
func Inspect(ctx context.Context, db *sql.DB, dialect string, options Options) (_ *Adoption, err error) {
	switch options.OnCollision {
	case "":
		options.OnCollision = Fail
	case Fail, Newest, Oldest:
	default:
		return nil, refuse(domain.ErrInvalid, "on_collision", "is neither newest, oldest nor fail")
	}
	runner, err := embedded(db, dialect)
	if err != nil {
		return nil, err
	}
	migrations, err := runner.Status(ctx)
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, failure("connect", err)
	}
	a := &Adoption{conn: conn, runner: runner, options: options}
	if dialect == migration.SQLite {
		a.file = &file{Adoption: a}
	}
	defer func() {
		if err = interrupted(ctx, err); err != nil {
			err = errors.Join(err, a.Close()) //nolint:contextcheck // what it does must be done whatever has ended
		}
	}()
	if a.file != nil {
		return a, a.file.inspect(ctx, migrations.Current != "")
	}
	if a.schema, err = runner.Schema(ctx); err != nil {
		return nil, err
	}
	for _, setting := range slices.Concat(settings, []string{"SET search_path = " + identifier.Quote(a.schema)}) {
		if err := a.exec(ctx, setting); err != nil {
			return nil, err
		}
	}
	if a.driver, err = postgres.Open(conn); err != nil {
		return nil, failure("inspect the database", err)
	}
	if a.done, err = a.finished(ctx); err != nil || a.done != nil {
		return a, err
	}
	if a.target, err = a.readTarget(ctx); err != nil {
		return nil, err
	}
	if err := a.checkZone(ctx); err != nil {
		return nil, err
	}
	if migrations.Current != "" {
		return nil, errMigrated
	}
	if a.source, err = a.readSource(ctx); err != nil {
		return nil, err
	}
	return a, a.plan(ctx)
}

var errMigrated = refuse(domain.ErrConflict, "", "the database has a history of migrations: its table users is this program's already")

// embedded returns the runner of this program's migrations, at whose last one the history is to begin.
func embedded(db *sql.DB, dialect string) (*migration.Runner, error) {
	if dialect == migration.SQLite {
		return migration.New(db, dialect, sqlite.Files, migration.Schema{})
	}
	return migration.New(db, dialect, files.Files, migration.Schema{})
}

// Close gives up the connection, and with it the settings and what was noted for a report. A second call does nothing.
func (a *Adoption) Close() error {
	conn := a.conn
	switch {
	case conn == nil:
		return nil
	case a.file != nil: // its connection may be the only one
		dropped := a.exec(context.Background(), "DROP TABLE IF EXISTS "+notesOfFile)
		a.conn = nil
		return errors.Join(dropped, conn.Close())
	}
	a.conn = nil
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // so it closes the connection
	return nil
}

// Done returns the summary of the adoption that this database has behind it, or nil.
func (a *Adoption) Done() *Summary { return a.done }

// Report reads all rows and calls each with what there is to report, in the order of their keys. Nothing is changed, and
// no lock is held. Rows that are changed meanwhile are reported as they were or as they are. An error of each ends the report and
// is returned.
func (a *Adoption) Report(ctx context.Context, each func(Problem) error) (_ Summary, err error) {
	defer func() { err = interrupted(ctx, err) }()
	if a.done != nil {
		return *a.done, nil
	}
	if a.file != nil {
		return a.file.report(ctx, each)
	}
	notes := &staging{a, "pg_temp.canonical", "TEMPORARY TABLE"}
	if err := notes.create(ctx); err != nil {
		return Summary{}, err
	}
	if _, err := notes.fill(ctx); err != nil {
		return Summary{}, err
	}
	if err := notes.decide(ctx); err != nil {
		return Summary{}, err
	}
	return notes.summarise(ctx, each)
}

// Adopt takes the table over and tells of its rows as Report does, but afterwards. It may be interrupted at any point, and run
// again: until the end nothing of the table is changed. On a database that was adopted it does nothing.
//
// The error is:
//   - [domain.ErrConflict]: there are rows that cannot be kept, and the rule is Fail; or rows of other tables refer to
//     accounts that would be quarantined; or one of the Obstacles. Each was called with the rows. Nothing was changed.
//   - [domain.ErrInvalid] on the field "zone": there are times without a zone, and no zone was given.
//   - [domain.ErrUnavailable]: the database cannot be reached, a lock cannot be had, or somebody else migrates it.
func (a *Adoption) Adopt(ctx context.Context, each func(Problem) error) (_ Summary, err error) {
	defer func() { err = interrupted(ctx, err) }()
	if a.done == nil && len(a.Obstacles) > 0 {
		return Summary{}, refuse(domain.ErrConflict, "", strings.Join(a.Obstacles, "; "))
	}
	if a.done == nil && a.options.Zone == "" && a.source.naive() != "" {
		return Summary{}, refuse(domain.ErrInvalid, "zone", "must be given, because the times of column "+a.source.naive()+
			" have none; the predecessor and most others keep UTC")
	}
	if a.file != nil {
		if a.done != nil {
			return *a.done, nil
		}
		return a.file.adopt(ctx, each)
	}
	unlock, err := a.runner.Lock(ctx, a.conn)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	notes := &staging{a, sideSchema + ".canonical", "UNLOGGED TABLE"}
	if a.done, err = a.finished(ctx); err != nil {
		return Summary{}, err
	}
	if a.done == nil {
		if summary, err := a.adopt(ctx, notes, each); err != nil {
			return summary, err
		}
	}
	// The report was noted and is now history; a process that is killed here leaves it to the next run.
	noted, err := a.exists(ctx, notes.table)
	if err != nil || !noted {
		return *a.done, err
	}
	if err := notes.report(ctx, each); err != nil {
		return *a.done, err
	}
	return *a.done, a.exec(ctx, "DROP TABLE "+notes.table)
}

func (a *Adoption) adopt(ctx context.Context, notes *staging, each func(Problem) error) (Summary, error) {
	if err := notes.create(ctx); err != nil {
		return Summary{}, err
	}
	if _, err := notes.fill(ctx); err != nil {
		return Summary{}, err
	}
	err := a.retryLocked(ctx, func() error { return a.takeOver(ctx, notes) })
	if !errors.Is(err, errBlocked) {
		return Summary{}, err
	}
	if err := notes.decide(ctx); err != nil {
		return Summary{}, err
	}
	summary, reported := notes.summarise(ctx, each)
	if reported != nil {
		return summary, reported
	}
	if err := a.exec(ctx, "DROP SCHEMA "+sideSchema+" CASCADE"); err != nil {
		return summary, err
	}
	return summary, err
}
