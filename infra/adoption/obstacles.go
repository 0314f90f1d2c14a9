package adoption

import (
	"context"
	"errors"
	"slices"
	"strings"

	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/infra/internal/identifier"
)

// obstacles are what would stop the conversion, or be lost or left behind without a word.
func (a *Adoption) obstacles(ctx context.Context, s *source) ([]string, error) {
	var found []string
	for _, other := range a.target.others {
		exists, err := a.exists(ctx, identifier.Quote(s.schema)+"."+identifier.Quote(other.Name))
		if err != nil {
			return nil, err
		}
		if exists {
			found = append(found, "there is a table "+other.Name+" already: rename it")
		}
	}
	if s.Table != "users" {
		exists, err := a.exists(ctx, identifier.Quote(s.schema)+`."users"`)
		if err == nil && exists {
			found = append(found, "there is a table users already, beside "+s.Table)
		}
		return found, err
	}
	converted := []string{}
	if s.inPlace {
		for _, column := range a.target.table.Columns {
			if _, ok := s.live.Column(column.Name); ok && column.Name != "id" {
				converted = append(converted, column.Name)
			}
		}
	}
	dependents, err := a.words(ctx, "look for what depends on the table", dependents, s.name, strings.Join(converted, ","), s.inPlace)
	if err != nil {
		return nil, err
	}
	for _, dependent := range dependents {
		found = append(found, dependent+" depends on the table, which cannot be changed under it: drop it, and make it again afterwards "+
			"(pg_dump --schema-only has its definition)")
	}
	if !s.inPlace {
		return found, nil
	}
	relations, err := a.words(ctx, "look for related tables", relations, s.name)
	if err != nil {
		return nil, err
	}
	found = append(found, relations...)
	for _, name := range s.others() {
		column, ok := s.live.Column(name)
		if ok && !column.Type.Null && column.Default == nil && !slices.ContainsFunc(column.Attrs, func(attr schema.Attr) bool {
			switch attr.(type) {
			case *schema.GeneratedExpr, *postgres.Identity:
				return true
			}
			return false
		}) {
			found = append(found, "column "+name+", which is not this program's, is NOT NULL and has no default: no account could be created")
		}
	}
	return found, nil
}

// dependents walks pg_depend from the columns $2 of the table $1 and returns in words all that PostgreSQL does not change along with them:
// views, rules, policies, triggers with a list of columns or a condition, functions with a body in SQL, publications with a list of columns
// or a condition, generated columns, foreign keys to another column than the id; and what depends on those, since it goes with them. Indexes,
// constraints and defaults of the table itself are changed along. If $3 is not set the table is to be moved away, which only matters to what
// reads it.
const dependents = `WITH RECURSIVE walk(classid, objid, objsubid) AS (
		SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
			WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass($1) AND d.deptype IN ('n', 'a')
			AND (NOT $3::boolean OR d.refobjsubid IN (SELECT attnum FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = ANY (string_to_array($2, ','))))
		UNION
		SELECT n.classid, n.objid, n.objsubid FROM walk w, LATERAL (
			SELECT 'pg_class'::regclass::oid, r.ev_class, 0 FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relkind IN ('v', 'm')
				WHERE w.classid = 'pg_rewrite'::regclass AND r.oid = w.objid
			UNION ALL
			SELECT 'pg_type'::regclass::oid, c.reltype, 0 FROM pg_class c WHERE w.classid = 'pg_class'::regclass AND c.oid = w.objid AND c.relkind IN ('v', 'm')
			UNION ALL
			SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
				WHERE d.refclassid = w.classid AND d.refobjid = w.objid AND d.deptype IN ('n', 'a')
				AND (w.classid IN ('pg_proc'::regclass, 'pg_type'::regclass)
					OR w.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = w.objid AND c.relkind IN ('v', 'm')))
		) AS n(classid, objid, objsubid)
	)
	SELECT DISTINCT pg_describe_object(w.classid, w.objid, w.objsubid) FROM walk w
		LEFT JOIN pg_class c ON w.classid = 'pg_class'::regclass AND c.oid = w.objid
		LEFT JOIN pg_rewrite r ON w.classid = 'pg_rewrite'::regclass AND r.oid = w.objid
		LEFT JOIN pg_class v ON v.oid = r.ev_class
	WHERE w.classid NOT IN ('pg_type'::regclass, 'pg_statistic_ext'::regclass)
		AND (c.oid IS NULL OR c.relkind NOT IN ('i', 'I', 'S', 't') AND (c.oid <> to_regclass($1) OR w.objsubid > 0))
		AND (v.oid IS NULL OR v.relkind NOT IN ('v', 'm'))
		AND NOT (w.classid = 'pg_constraint'::regclass AND EXISTS (SELECT FROM pg_constraint k WHERE k.oid = w.objid AND k.conrelid = to_regclass($1)))
		AND NOT (w.classid = 'pg_trigger'::regclass AND EXISTS (SELECT FROM pg_trigger t WHERE t.oid = w.objid AND t.tgisinternal))
		AND NOT (w.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef e JOIN pg_attribute a ON (a.attrelid, a.attnum) = (e.adrelid, e.adnum)
			WHERE e.oid = w.objid AND e.adrelid = to_regclass($1) AND a.attgenerated = ''))
		AND ($3::boolean OR c.relkind IN ('v', 'm') OR w.classid = 'pg_proc'::regclass OR r.ev_class <> to_regclass($1))
	ORDER BY 1`

// relations are what is in the way of a conversion of the table $1 that depends on the whole of it, in words.
const relations = `WITH RECURSIVE types(oid) AS (
		SELECT reltype FROM pg_class WHERE oid = to_regclass($1)
		UNION SELECT t.oid FROM types JOIN pg_type t ON t.typelem = types.oid OR t.typbasetype = types.oid
	)
	SELECT format('column %s of table %s holds whole rows of the table: drop the column, and make it again afterwards', a.attname, c.oid::regclass)
		FROM types JOIN pg_attribute a ON a.atttypid = types.oid AND NOT a.attisdropped JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm')
	UNION ALL SELECT format('table %s inherits from the table: let it go (ALTER TABLE %1$s NO INHERIT …)', inhrelid::regclass) FROM pg_inherits WHERE inhparent = to_regclass($1)
	UNION ALL SELECT format('the table inherits from %s: let it go (ALTER TABLE … NO INHERIT %1$s)', inhparent::regclass) FROM pg_inherits WHERE inhrelid = to_regclass($1)
	UNION ALL SELECT 'the table is of type ' || reloftype::regtype || ': let it go (ALTER TABLE … NOT OF)' FROM pg_class WHERE oid = to_regclass($1) AND reloftype <> 0
	UNION ALL SELECT 'the table is unlogged, and no permanent table can refer to it: ALTER TABLE … SET LOGGED' FROM pg_class WHERE oid = to_regclass($1) AND relpersistence = 'u'
	UNION ALL SELECT 'the table belongs to the role ' || relowner::regrole || ', of which ' || quote_ident(current_user) || ' is no member: connect as a role that is'
		FROM pg_class WHERE oid = to_regclass($1) AND NOT pg_has_role(relowner, 'USAGE')
	ORDER BY 1`

// rehearse converts an empty copy of the table, in a transaction that is rolled back, and returns why that fails, or "". So it finds what the
// catalog of dependencies does not say: an index or a check whose expression does not take the new type.
func (a *Adoption) rehearse(ctx context.Context) (reason string, err error) {
	if err := a.exec(ctx, "BEGIN"); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.exec(context.WithoutCancel(ctx), "ROLLBACK")) }()
	const copied = scratchSchema + ".users"
	for _, statement := range []string{
		"CREATE SCHEMA " + scratchSchema,
		"CREATE TABLE " + copied + " (LIKE " + a.source.name + " INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING IDENTITY)",
		"SET LOCAL search_path = ''", // so that the texts of the indexes name schemas
	} {
		if err := a.exec(ctx, statement); err != nil {
			return "", err
		}
	}
	indexes, err := a.words(ctx, "look for indexes", `
		SELECT statement FROM (
			SELECT contype <> 'p', format('ALTER TABLE `+copied+` ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
				WHERE conrelid = to_regclass($1) AND contype IN ('p', 'u', 'x')
			UNION ALL SELECT true, replace(pg_get_indexdef(indexrelid), ' ON ' || indrelid::regclass || ' ', ' ON `+copied+` ') FROM pg_index
				WHERE indrelid = to_regclass($1) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
		) AS x(later, statement) ORDER BY later, statement`, a.source.name)
	if err != nil {
		return "", err
	}
	for _, statement := range slices.Concat(indexes, []string{"SET LOCAL search_path = " + scratchSchema}, a.Statements) {
		if err := a.exec(ctx, statement); err != nil {
			if ctx.Err() != nil {
				return "", err
			}
			return "an empty copy of the table cannot be converted (" + err.Error() + "): change or drop what the message names, and make it again afterwards", nil
		}
	}
	return "", nil
}

// words returns the only column of a query.
func (a *Adoption) words(ctx context.Context, doing, query string, args ...any) (found []string, err error) {
	rows, err := a.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failure(doing, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var word string
		if err := rows.Scan(&word); err != nil {
			return nil, failure(doing, err)
		}
		found = append(found, word)
	}
	return found, failure(doing, rows.Err())
}
