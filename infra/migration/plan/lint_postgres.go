package plan

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// relation is a table or an index as PostgreSQL keeps it.
type relation struct {
	table   string // its name, or that of the index's table
	index   string // empty for a table
	storage int64  // pg_class.relfilenode, which changes when the relation is written anew
}

// observation is what is to be seen of the schema between two statements.
type observation struct {
	tables      map[int64]relation  // by oid, which survives a new name
	indexes     map[string]relation // by name, which survives being built anew
	stopsWrites map[int64]bool      // tables, by oid, on which this session holds a lock that stops writes
	lockTimeout string
	unvalidated map[string]bool // names of constraints that are NOT VALID
	proved      map[string]bool // "table.column" of those which a valid check proves to be NOT NULL
}

func (l *linting) observe(ctx context.Context) (o observation, err error) {
	o = observation{
		tables: map[int64]relation{}, indexes: map[string]relation{}, stopsWrites: map[int64]bool{},
		unvalidated: map[string]bool{}, proved: map[string]bool{},
	}
	if err := l.conn.QueryRowContext(ctx, "SELECT current_setting('lock_timeout')").Scan(&o.lockTimeout); err != nil {
		return o, err
	}
	return o, errors.Join(l.observeRelations(ctx, o), l.observeLocks(ctx, o), l.observeConstraints(ctx, o))
}

func (l *linting) observeRelations(ctx context.Context, o observation) (err error) {
	rows, err := l.conn.QueryContext(ctx, `
		SELECT c.oid, coalesce(t.relname, c.relname), CASE WHEN t.oid IS NULL THEN '' ELSE c.relname END, c.relfilenode
		FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = i.indrelid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'i', 'I')`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var oid int64
		var r relation
		if err := rows.Scan(&oid, &r.table, &r.index, &r.storage); err != nil {
			return err
		}
		if r.index == "" {
			o.tables[oid] = r
		} else {
			o.indexes[r.index] = r
		}
	}
	return rows.Err()
}

func (l *linting) observeLocks(ctx context.Context, o observation) (err error) {
	// The modes that conflict with ROW EXCLUSIVE, the lock of INSERT, UPDATE and DELETE:
	// https://www.postgresql.org/docs/current/explicit-locking.html
	rows, err := l.conn.QueryContext(ctx, `
		SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
			AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var oid int64
		if err := rows.Scan(&oid); err != nil {
			return err
		}
		o.stopsWrites[oid] = true
	}
	return rows.Err()
}

func (l *linting) observeConstraints(ctx context.Context, o observation) (err error) {
	rows, err := l.conn.QueryContext(ctx, `
		SELECT conname, convalidated, conrelid::regclass::text, coalesce(
			(SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1] AND cardinality(conkey) = 1
				AND pg_get_constraintdef(c.oid) LIKE 'CHECK ((% IS NOT NULL))%'), '')
		FROM pg_constraint c WHERE connamespace = current_schema()::regnamespace AND contype IN ('c', 'f')`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name, table, column string
		var valid bool
		if err := rows.Scan(&name, &valid, &table, &column); err != nil {
			return err
		}
		switch {
		case !valid:
			o.unvalidated[name] = true
		case column != "":
			o.proved[strings.Trim(table, `"`)+"."+column] = true
		}
	}
	return rows.Err()
}

// observePostgres executes the file as a runner does and looks at what each statement does.
func (l *linting) observePostgres(ctx context.Context, current *schema.Schema) error {
	existing := tableNames(current)
	transactional := l.file.Transactional
	if transactional && slices.ContainsFunc(l.file.Statements, func(s *migrate.Stmt) bool { return script.Concurrently.MatchString(s.Text) }) {
		transactional = false // it could not run as it is, which is a finding
	}
	// Not in UTC, where PostgreSQL need not touch the rows to give a timestamp its zone.
	for _, setting := range []string{"SET lock_timeout = 0", "SET TimeZone = 'America/New_York'"} {
		if _, err := l.conn.ExecContext(ctx, setting); err != nil {
			return err
		}
	}
	if transactional {
		if _, err := l.conn.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
	}
	for _, statement := range l.file.Statements {
		before, err := l.observe(ctx)
		if err != nil {
			return err
		}
		after, err := l.executeObserved(ctx, statement, transactional)
		if err != nil {
			return l.file.Failure(statement, err)
		}
		next, err := inspect(ctx, l.driver)
		if err != nil {
			return err
		}
		changes, err := l.apply(statement, current, next)
		if err != nil {
			return err
		}
		l.judge(statement, existing, before, after, changes)
		current = next
	}
	if transactional {
		if _, err := l.conn.ExecContext(ctx, "COMMIT"); err != nil {
			return err
		}
	}
	return nil
}

// executeObserved executes a statement and looks around before its locks are gone.
func (l *linting) executeObserved(ctx context.Context, statement *migrate.Stmt, inTx bool) (o observation, err error) {
	if !inTx && !script.Concurrently.MatchString(statement.Text) {
		if _, err := l.conn.ExecContext(ctx, "BEGIN"); err != nil {
			return o, err
		}
		_, err := l.conn.ExecContext(ctx, statement.Text)
		if err == nil {
			o, err = l.observe(ctx)
			_, committed := l.conn.ExecContext(ctx, "COMMIT")
			return o, errors.Join(err, committed)
		}
		if _, back := l.conn.ExecContext(ctx, "ROLLBACK"); back != nil {
			return o, errors.Join(err, back)
		}
		// active_sql_transaction, invalid_transaction_termination: it wants to be alone.
		if code := script.SQLState(err); code != "25001" && code != "2D000" {
			return o, err
		}
	}
	if _, err := l.conn.ExecContext(ctx, statement.Text); err != nil {
		return o, err
	}
	return l.observe(ctx)
}

var (
	writesRows = regexp.MustCompile(`(?i)^\s*(UPDATE|DELETE|WITH)\b`)
	validates  = regexp.MustCompile(`(?i)\bVALIDATE\s+CONSTRAINT\b`)
)

// judge reports what a statement did to the tables that were there before the file.
func (l *linting) judge(statement *migrate.Stmt, existing []string, before, after observation, changes schema.Changes) {
	inUse := func(table string) bool { return slices.Contains(existing, table) }
	isConcurrent := script.Concurrently.MatchString(statement.Text)
	if isConcurrent && l.file.Transactional {
		l.report(statement, "PG103", "CONCURRENTLY cannot run in a transaction, and this file is one")
	}
	if writesRows.MatchString(statement.Text) && len(existing) > 0 && len(changes) == 0 {
		l.report(statement, "AC105", "Changing rows in one statement keeps each of them locked until the last one is done")
	}

	rewritten := map[string]bool{}
	for oid, was := range before.tables {
		if !inUse(was.table) {
			continue
		}
		if before.stopsWrites[oid] && validates.MatchString(statement.Text) {
			l.report(statement, "AC103", "Validating a constraint reads the whole table, and the file holds a lock on %q that stops writes",
				was.table)
		}
		if after.stopsWrites[oid] && !before.stopsWrites[oid] && before.lockTimeout == "0" {
			l.report(statement, "AC101", "Waiting for a lock on table %q without a lock_timeout: all who come later wait behind it", was.table)
		}
		if is, still := after.tables[oid]; still && is.storage != was.storage {
			rewritten[was.table] = true
			if slices.ContainsFunc(changes, addsDefault) {
				l.report(statement, "PG302", "A value that is computed for each row writes table %q anew while nobody can use it", was.table)
			} else {
				l.report(statement, "PG301", "Writing table %q anew while nobody can use it", was.table)
			}
		}
	}
	for name, was := range before.indexes {
		if is, still := after.indexes[name]; still && is.storage != was.storage && inUse(was.table) && !rewritten[was.table] && !isConcurrent {
			l.report(statement, "PG301", "Building index %q anew while nobody can write to table %q", name, was.table)
		}
	}
	for _, change := range changes {
		if table, ok := change.(*schema.ModifyTable); ok && inUse(table.T.Name) {
			l.judgeTable(statement, table, isConcurrent, before, after)
		}
	}
}

func addsDefault(change schema.Change) bool {
	table, ok := change.(*schema.ModifyTable)
	return ok && slices.ContainsFunc(table.Changes, func(c schema.Change) bool {
		column, ok := c.(*schema.AddColumn)
		return ok && (column.C.Default != nil || len(column.C.Attrs) > 0)
	})
}

func (l *linting) judgeTable(statement *migrate.Stmt, table *schema.ModifyTable, isConcurrent bool, before, after observation) {
	for _, change := range table.Changes {
		switch c := change.(type) {
		case *schema.AddIndex:
			if !isConcurrent {
				l.report(statement, "PG101", "Building index %q while nobody can write to table %q", c.I.Name, table.T.Name)
			}
		case *schema.DropIndex:
			if !isConcurrent {
				l.report(statement, "PG102", "Dropping index %q while nobody can use table %q", c.I.Name, table.T.Name)
			}
		case *schema.AddPrimaryKey:
			l.report(statement, "PG104", "Building the primary key while nobody can use table %q", table.T.Name)
		case *schema.AddCheck:
			if !after.unvalidated[c.C.Name] {
				l.report(statement, "PG305", "Checking all rows against %q while nobody can use table %q", c.C.Name, table.T.Name)
			}
		case *schema.AddForeignKey:
			if !after.unvalidated[c.F.Symbol] {
				l.report(statement, "PG306", "Checking all rows against %q while nobody can write to table %q", c.F.Symbol, table.T.Name)
			}
		case *schema.ModifyColumn:
			if c.Change.Is(schema.ChangeNull) && !c.To.Type.Null && !before.proved[table.T.Name+"."+c.To.Name] {
				l.report(statement, "PG303", "Looking for NULL in all rows of column %q while nobody can use table %q", c.To.Name, table.T.Name)
			}
		}
	}
}

// safer tells what to do instead, by code.
var safer = map[string]string{
	"DS101": "keep it until no release in use knows it, then silence this with -- atlas:nolint DS101",
	"DS102": "keep it until no release in use knows it, then silence this with -- atlas:nolint DS102",
	"DS103": "stop using the column in one release and drop it in the next, then silence this with -- atlas:nolint DS103",
	"MF101": "look for duplicates first; build it with CREATE UNIQUE INDEX CONCURRENTLY, which leaves the table usable if there are any",
	"MF102": "look for duplicates first; build a new index with CREATE UNIQUE INDEX CONCURRENTLY and drop the old one",
	"MF103": "add the column nullable or with a constant default, fill it in batches, then make it NOT NULL by a validated check",
	"MF104": "fill the column before",
	"LT101": "fill the column before, or give it a default",
	"BC101": "make the new table beside the old one and change over in several releases",
	"BC102": "add the new column, write both, fill it in batches, and drop the old column in a later release",
	"CD101": "see that nothing relies on the foreign key, then silence this with -- atlas:nolint CD101",

	"PG101": "CREATE INDEX CONCURRENTLY, in a file of its own that begins with -- atlas:txmode none and an empty line",
	"PG102": "DROP INDEX CONCURRENTLY, in a file of its own that begins with -- atlas:txmode none and an empty line",
	"PG103": "begin the file with -- atlas:txmode none and an empty line",
	"PG104": "CREATE UNIQUE INDEX CONCURRENTLY, then ALTER TABLE … ADD PRIMARY KEY USING INDEX",
	"PG301": "add a column of the new type, write both, fill it in batches, and drop the old column in a later release",
	"PG302": "add the column without a default, SET DEFAULT in a second statement, and fill the old rows in batches",
	"PG303": "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID; VALIDATE CONSTRAINT in the next transaction; then SET NOT NULL, " +
		"which relies on it, and drop the check",
	"PG305": "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in the next transaction",
	"PG306": "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in the next transaction",

	"AC101": "SET LOCAL lock_timeout = '5s' before it (in a file without a transaction: SET lock_timeout)",
	"AC102": "to rename, add the new column, write both, fill it in batches, and drop the old one in a later release; if the two have " +
		"nothing to do with each other, do it in two files",
	"AC103": "validate in a file of its own",
	"AC104": "begin the file with -- atlas:delimiter and end the statements with that delimiter",
	"AC105": "change rows in batches, each in its own transaction, in a file that begins with -- atlas:txmode none and an empty line",
}
