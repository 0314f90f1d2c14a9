package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// postgresCatalog reads kind, id, parent, name and attributes of everything that is not PostgreSQL's own, in all schemas.
const postgresCatalog = `
WITH s AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
c AS (SELECT c.*, s.nspname FROM pg_class c JOIN s ON s.oid = c.relnamespace),
t AS (SELECT * FROM c WHERE relkind IN ('r', 'p', 'f'))
SELECT 'schema', 's' || oid, '', nspname, '{}' FROM s
UNION ALL SELECT 'table', 't' || oid, 's' || relnamespace, relname, jsonb_build_object('schema', nspname,
	'storage', relfilenode::text, 'rows', relrowsecurity::text || relforcerowsecurity::text || relowner::text)::text FROM t
UNION ALL SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'm' THEN 'materialized view' ELSE 'view' END,
	't' || oid, 's' || relnamespace, relname, jsonb_build_object('schema', nspname, 'storage', relfilenode::text)::text
	FROM c WHERE relkind IN ('v', 'm') OR relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend
		WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i'))
UNION ALL SELECT 'column', 'c' || t.oid || '.' || attnum, 't' || t.oid, attname, jsonb_build_object(
	'type', format_type(atttypid, atttypmod), 'collation', attcollation::text, 'null', (NOT attnotnull)::text,
	'default', coalesce(pg_get_expr(adbin, adrelid), ''), 'computed', attgenerated::text || attidentity::text)::text
	FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND attnum > 0 AND NOT attisdropped
	LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL SELECT 'index', 't' || c.oid, 't' || i.indrelid, c.relname, jsonb_build_object('unique', indisunique::text,
	'storage', c.relfilenode::text, 'constraint', coalesce(k.contype::text, ''),
	'where', coalesce(pg_get_expr(indpred, indrelid), ''), 'columns', (SELECT string_agg(coalesce(attname, pg_get_indexdef(c.oid, n::int, true)), ',' ORDER BY n)
		FROM unnest(indkey::int[]) WITH ORDINALITY u(num, n) LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = num AND num > 0
		WHERE n <= indnkeyatts))::text
	FROM c JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid
UNION ALL SELECT CASE contype WHEN 'c' THEN 'check' ELSE 'foreign key' END, 'k' || k.oid,
	CASE WHEN conrelid = 0 THEN 'y' || contypid ELSE 't' || conrelid END, conname, jsonb_build_object(
	'valid', convalidated::text, 'definition', pg_get_constraintdef(k.oid), 'columns', (SELECT string_agg(attname, ',' ORDER BY n)
		FROM unnest(conkey) WITH ORDINALITY u(num, n) JOIN pg_attribute ON attrelid = conrelid AND attnum = num))::text
	FROM pg_constraint k JOIN s ON s.oid = connamespace WHERE contype IN ('c', 'f') AND conparentid = 0
UNION ALL SELECT 'trigger', 'g' || g.oid, 't' || tgrelid, tgname, jsonb_build_object('enabled', tgenabled::text)::text
	FROM pg_trigger g JOIN t ON t.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT 'policy', 'p' || p.oid, 't' || polrelid, polname, jsonb_build_object('definition', polroles::text ||
	coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), ''))::text
	FROM pg_policy p JOIN t ON t.oid = polrelid
UNION ALL SELECT 'right', 'a' || c.oid || '.' || grantee || privilege_type, 't' || c.oid,
	privilege_type || ' of ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, '{}'
	FROM c, aclexplode(relacl) WHERE grantee <> relowner
UNION ALL SELECT 'partition', 'i' || inhrelid || '.' || inhparent, 't' || inhparent, t.relname, jsonb_build_object('table', 't' || t.oid)::text
	FROM pg_inherits JOIN t ON t.oid = inhrelid
UNION ALL SELECT 'type', 'y' || y.oid, 's' || y.typnamespace, typname, jsonb_build_object('schema', nspname)::text
	FROM pg_type y JOIN s ON s.oid = typnamespace LEFT JOIN pg_class r ON r.oid = typrelid
	WHERE typtype IN ('e', 'd', 'r') OR r.relkind = 'c'
UNION ALL SELECT 'enum value', 'e' || e.oid, 'y' || enumtypid, enumlabel, '{}' FROM pg_enum e
UNION ALL SELECT 'function', 'f' || f.oid, 's' || pronamespace, proname, jsonb_build_object('schema', nspname)::text
	FROM pg_proc f JOIN s ON s.oid = pronamespace`

func (l *linting) inspectPostgres(ctx context.Context) (_ catalog, err error) {
	if l.catalogs == nil {
		if l.catalogs, err = l.conn.PrepareContext(ctx, postgresCatalog); err != nil {
			return nil, script.Failure("inspect the development database", err)
		}
	}
	rows, err := l.catalogs.QueryContext(ctx)
	if err != nil {
		return nil, script.Failure("inspect the development database", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := catalog{}
	for rows.Next() {
		var o object
		var attrs string
		if err := rows.Scan(&o.kind, &o.id, &o.parent, &o.name, &attrs); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(attrs), &o.attrs); err != nil {
			return nil, err
		}
		found.add(o)
	}
	return found, rows.Err()
}

// deallocates finds the statements by which a session loses what was prepared.
var deallocates = regexp.MustCompile(`(?i)\b(DISCARD|DEALLOCATE)\b`)

func (l *linting) forgetCatalogs() {
	if l.catalogs != nil {
		_ = l.catalogs.Close() // in a transaction that has failed it cannot be; it goes with the session
		l.catalogs = nil
	}
}

// watch is what is to be seen of a session besides the catalog. Tables are named by the id of their object.
type watch struct {
	lockTimeout int64           // in milliseconds
	strong      map[string]bool // tables on which the session holds a lock that stops writes
	writes      map[string]bool // tables on which it holds the lock of those who write rows
	scans       map[string]int64
}

func (l *linting) watch(ctx context.Context) (w watch, err error) {
	w = watch{strong: map[string]bool{}, writes: map[string]bool{}, scans: map[string]int64{}}
	// The setting reads 5s, 1min or 0, which are intervals; pg_settings would be built whole for one of its rows.
	err = l.conn.QueryRowContext(ctx, "SELECT (extract(epoch FROM current_setting('lock_timeout')::interval) * 1000)::bigint").Scan(&w.lockTimeout)
	if err != nil {
		return w, err
	}
	// The modes that conflict with ROW EXCLUSIVE, the lock of INSERT, UPDATE and DELETE:
	// https://www.postgresql.org/docs/current/explicit-locking.html. The rows of a materialized view are only read.
	// A partitioned table is read in its partitions.
	rows, err := l.conn.QueryContext(ctx, `
		WITH counted AS MATERIALIZED (
			SELECT relid, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) AS scans FROM pg_stat_xact_all_tables WHERE relid >= 16384)
		SELECT 't' || coalesce(c.oid, relation), coalesce(bool_or(mode = 'AccessExclusiveLock' OR relkind <> 'm'
				AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock')), false),
			coalesce(bool_or(mode = 'RowExclusiveLock'), false),
			(SELECT coalesce(sum(scans), 0)::bigint FROM counted
				WHERE relid = c.oid OR relid IN (SELECT relid FROM pg_partition_tree(c.oid)))
		FROM pg_class c FULL JOIN (
			SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation') l ON relation = c.oid
		WHERE (relkind IN ('r', 'p', 'm') OR relkind IS NULL) AND coalesce(c.oid, relation) >= 16384 -- below are PostgreSQL's own
		GROUP BY relation, c.oid`)
	if err != nil {
		return w, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		var strong, writes bool
		var scans int64
		if err := rows.Scan(&id, &strong, &writes, &scans); err != nil {
			return w, err
		}
		w.strong[id], w.writes[id], w.scans[id] = strong, writes, scans
	}
	return w, rows.Err()
}

func (l *linting) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := l.conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// preparePostgres brings the session to where a runner's is at the beginning of the file.
func (l *linting) preparePostgres(ctx context.Context) error {
	var counts bool
	if err := l.conn.QueryRowContext(ctx, "SELECT current_setting('track_counts')::boolean").Scan(&counts); err != nil {
		return script.Failure("prepare the development database", err)
	}
	if !counts {
		return script.Refuse(domain.ErrInvalid, "the development database does not count scans: its setting track_counts is off, and must be on")
	}
	// Not in UTC, where PostgreSQL need not touch the rows to give a timestamp its zone.
	err := l.exec(ctx, "SET lock_timeout = 0", "SET TimeZone = 'America/New_York'")
	if err == nil && l.file.Transactional {
		l.open = true
		err = l.exec(ctx, "BEGIN")
	}
	return script.Failure("prepare the development database", err)
}

// executePostgres executes a statement in the transaction that is open, or else in one of its own, and looks around
// before its locks are gone.
func (l *linting) executePostgres(ctx context.Context, s *step) error {
	seen := l.seen
	l.seen = nil
	if deallocates.MatchString(s.statement.Text) {
		l.forgetCatalogs()
	}
	if controlsTransaction(s.statement.Text) {
		l.open = script.Begins(s.statement.Text)
		return l.exec(ctx, s.statement.Text)
	}
	if setsTimeout.MatchString(s.statement.Text) {
		return l.exec(ctx, s.statement.Text)
	}
	alone := !l.open
	if alone {
		if err := l.exec(ctx, "BEGIN"); err != nil {
			return err
		}
	}
	plan, err := l.explain(ctx, s)
	if err != nil {
		return l.rollBack(ctx, err)
	}
	if plan != nil || seen == nil { // EXPLAIN may have read a table
		now, err := l.watch(ctx)
		if err != nil {
			return l.rollBack(ctx, err)
		}
		seen = &now
	}
	before := *seen
	if err := l.exec(ctx, "SAVEPOINT lint", s.statement.Text); err != nil {
		return l.executeOutside(ctx, s, alone, err)
	}
	after, err := l.watch(ctx)
	if err != nil {
		return l.rollBack(ctx, err)
	}
	s.seen(before, after, plan)
	if err := l.exec(ctx, "RELEASE SAVEPOINT lint"); err != nil || !alone {
		l.seen = &after
		return err
	}
	return l.exec(ctx, "COMMIT")
}

func (l *linting) rollBack(ctx context.Context, err error) error {
	return errors.Join(err, l.exec(context.WithoutCancel(ctx), "ROLLBACK"))
}

// executeOutside executes a statement that has failed in a transaction without one, if that was the reason.
func (l *linting) executeOutside(ctx context.Context, s *step, alone bool, err error) error {
	const activeTransaction, invalidTermination = "25001", "2D000" // VACUUM, CREATE INDEX CONCURRENTLY; COMMIT in a block
	code := script.SQLState(err)
	if code != activeTransaction && (code != invalidTermination || !alone) {
		return l.rollBack(ctx, err)
	}
	s.outside = true
	if alone {
		return errors.Join(l.exec(ctx, "ROLLBACK", s.statement.Text))
	}
	s.refused = true
	return l.exec(ctx, "ROLLBACK TO SAVEPOINT lint", "COMMIT", s.statement.Text, "BEGIN")
}

// repeat executes a statement a second time, as it happens to one whose runner was killed before it took a note.
func (l *linting) repeat(ctx context.Context, s *step) error {
	begin, back := "BEGIN", "ROLLBACK"
	if s.outside || l.database.dialect == SQLite { // where VACUUM and PRAGMA go without a transaction
		begin, back = "SELECT 1", "SELECT 1"
	}
	if err := l.exec(ctx, begin); err != nil {
		return err
	}
	result, err := l.conn.ExecContext(ctx, s.statement.Text)
	if err != nil {
		s.unrepeatable = "fails if it is executed again"
	} else if n, err := result.RowsAffected(); inserts.MatchString(s.statement.Text) && err == nil && n > 0 {
		s.unrepeatable = "stores its rows again if it is executed again"
	}
	return l.exec(ctx, back)
}

// seen notes what a statement did besides changing the catalog.
func (s *step) seen(before, after watch, plan []target) {
	text := s.statement.Text
	s.lockTimeout, s.held, s.read = before.lockTimeout, before.strong, map[string]bool{}
	writes := plan == nil && !locks.MatchString(text)
	if block.MatchString(text) {
		// A loop over the rows of an empty table has written nothing; one that commits is in batches.
		writes = writes && !commits.MatchString(text)
		for _, match := range writesIn.FindAllStringSubmatch(text, -1) {
			if writes {
				plan = append(plan, target{schema: strings.Trim(match[1], `".`), name: strings.Trim(match[2], `"`)})
			}
		}
	}
	for id := range before.scans {
		s.read[id] = after.scans[id] > before.scans[id]
		table := s.from[id]
		if after.strong[id] && !before.strong[id] {
			s.events = append(s.events, event{locked, table, table})
		}
		if writes && after.writes[id] && !before.writes[id] {
			s.events = append(s.events, event{written, table, table})
		}
	}
	for _, t := range plan {
		table, ok := s.from.find(func(o object) bool {
			return o.kind == "table" && o.name == t.name && (t.schema == "" || o.attrs["schema"] == t.schema)
		})
		if !ok {
			continue
		}
		if t.all {
			s.events = append(s.events, event{emptied, table, table})
		}
		s.events = append(s.events, event{written, table, table})
	}
}

// target is a table of which a plan changes many rows.
type target struct {
	schema, name string
	all          bool // all of them, and they are deleted
}

// node is one of EXPLAIN's.
type node struct {
	Type      string `json:"Node Type"`
	Operation string
	Schema    string
	Relation  string `json:"Relation Name"`
	Parent    string `json:"Parent Relationship"`
	Index     string `json:"Index Name"`
	IndexCond string `json:"Index Cond"`
	Filter    string
	Plans     []node
}

// explain returns the tables of which a statement changes more rows than it names. Nil means that it cannot be known.
func (l *linting) explain(ctx context.Context, s *step) ([]target, error) {
	if !explainable.MatchString(s.statement.Text) {
		return nil, nil
	}
	var text string
	// The tables are empty; without this the plan would be to read them from end to end.
	err := l.exec(ctx, "SAVEPOINT lint", "SET LOCAL enable_seqscan = off", "SET LOCAL enable_bitmapscan = off")
	if err == nil {
		err = l.conn.QueryRowContext(ctx, "EXPLAIN (FORMAT JSON, VERBOSE) "+s.statement.Text).Scan(&text)
	}
	if err != nil {
		return nil, err
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		return nil, fmt.Errorf("read a plan: %w", err)
	}
	targets := []target{}
	for _, p := range plans {
		targets = append(targets, p.Plan.targets(s.from)...)
	}
	return targets, l.exec(ctx, "ROLLBACK TO SAVEPOINT lint")
}

func (n node) targets(c catalog) (all []target) {
	for _, child := range n.Plans {
		all = append(all, child.targets(c)...)
		if n.Type == "ModifyTable" && child.Parent == "Outer" && !child.isBounded(c) {
			everything := n.Operation == "Delete" && child.Type == "Seq Scan" && child.Filter == ""
			all = append(all, target{n.Schema, n.Relation, everything})
		}
	}
	return all
}

// isBounded reports whether a node returns no more rows than the statement lists: values, or rows found by a unique key.
func (n node) isBounded(c catalog) bool {
	switch n.Type {
	case "Result":
		return len(n.Plans) == 0
	case "Values Scan":
		return true
	case "Index Scan":
		index, ok := c.find(func(o object) bool { return o.kind == "index" && o.name == n.Index })
		return ok && index.attrs["unique"] == "true" && len(index.columns()) == len(equality.FindAllString(n.IndexCond, -1)) &&
			!unequal.MatchString(n.IndexCond)
	}
	return false
}

var (
	equality = regexp.MustCompile(` = `)
	unequal  = regexp.MustCompile(`[<>]|ANY \([^'A]`) // also what a query has returned, which is $0 or, since PostgreSQL 17, (InitPlan 1).col1; values are '{1,2}' or ARRAY[…]
)
