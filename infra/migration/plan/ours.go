package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// prune takes out of the live schema what is not ours, and returns it in words: what neither the target nor one of the schemas
// that our files have ever made has. So no plan touches it.
func prune(live, target *schema.Schema, made ...*schema.Schema) (additional []string) {
	made = append(made, target)
	for _, table := range live.Tables {
		var ours []*schema.Table
		for _, s := range made {
			if t, ok := s.Table(table.Name); ok {
				ours = append(ours, t)
			}
		}
		for _, found := range pruneTable(table, ours) {
			additional = append(additional, found+" of "+table.Name)
		}
	}
	live.Objects = slices.DeleteFunc(live.Objects, func(o schema.Object) bool {
		name := objectName(o)
		return !slices.ContainsFunc(made, func(s *schema.Schema) bool {
			return slices.ContainsFunc(s.Objects, func(o schema.Object) bool { return objectName(o) == name })
		})
	})
	return additional
}

func objectName(o schema.Object) string {
	switch o := o.(type) {
	case *schema.EnumType:
		return o.T
	case interface{ SpecName() string }:
		return o.SpecName()
	}
	return fmt.Sprintf("%T", o)
}

func pruneTable(table *schema.Table, ours []*schema.Table) (additional []string) {
	declare := func(has func(*schema.Table) bool) bool { return slices.ContainsFunc(ours, has) }
	note := func(kind, name string) { additional = append(additional, kind+" "+name) }

	table.Columns = slices.DeleteFunc(table.Columns, func(c *schema.Column) bool {
		if declare(func(t *schema.Table) bool { _, ok := t.Column(c.Name); return ok }) {
			return false
		}
		note("column", c.Name)
		return true
	})
	for _, c := range table.Columns {
		if c.Default != nil && !declare(func(t *schema.Table) bool { o, ok := t.Column(c.Name); return ok && o.Default != nil }) {
			note("default of column", c.Name)
			c.Default = nil
		}
		if dropComment(&c.Attrs, declare, func(t *schema.Table) []schema.Attr {
			if o, ok := t.Column(c.Name); ok {
				return o.Attrs
			}
			return nil
		}) {
			note("comment on column", c.Name)
		}
	}
	table.Indexes = slices.DeleteFunc(table.Indexes, func(i *schema.Index) bool {
		if declare(func(t *schema.Table) bool { _, ok := t.Index(i.Name); return ok }) {
			return false
		}
		note("index", i.Name)
		return true
	})
	for _, i := range table.Indexes {
		if dropComment(&i.Attrs, declare, func(t *schema.Table) []schema.Attr {
			if o, ok := t.Index(i.Name); ok {
				return o.Attrs
			}
			return nil
		}) {
			note("comment on index", i.Name)
		}
	}
	table.ForeignKeys = slices.DeleteFunc(table.ForeignKeys, func(k *schema.ForeignKey) bool {
		if declare(func(t *schema.Table) bool {
			return slices.ContainsFunc(t.ForeignKeys, func(o *schema.ForeignKey) bool { return o.Symbol == k.Symbol })
		}) {
			return false
		}
		note("foreign key", k.Symbol)
		return true
	})
	table.Attrs = slices.DeleteFunc(table.Attrs, func(a schema.Attr) bool {
		check, ok := a.(*schema.Check)
		if !ok || declare(func(t *schema.Table) bool {
			return slices.ContainsFunc(t.Attrs, func(a schema.Attr) bool {
				o, ok := a.(*schema.Check)
				return ok && o.Name == check.Name && (o.Name != "" || o.Expr == check.Expr)
			})
		}) {
			return false
		}
		note("check", strings.TrimSpace(check.Name+" "+check.Expr))
		return true
	})
	if dropComment(&table.Attrs, declare, func(t *schema.Table) []schema.Attr { return t.Attrs }) {
		additional = append(additional, "comment")
	}
	return additional
}

// dropComment takes a comment away where we never had one.
func dropComment(attrs *[]schema.Attr, declare func(func(*schema.Table) bool) bool, of func(*schema.Table) []schema.Attr) bool {
	isComment := func(a schema.Attr) bool { _, ok := a.(*schema.Comment); return ok }
	if declare(func(t *schema.Table) bool { return slices.ContainsFunc(of(t), isComment) }) {
		return false
	}
	before := len(*attrs)
	*attrs = slices.DeleteFunc(slices.Clone(*attrs), isComment)
	return len(*attrs) < before
}

// additionalObjects are those that Atlas does not see or that are beside our tables: what a database holds of an application, in the
// schema of our tables or on them.
func additionalObjects(ctx context.Context, s *migration.Connection, target *schema.Schema) ([]string, error) {
	_, history := s.History()
	names := tableNames(target)
	if s.Dialect() == SQLite {
		return words(ctx, s, `SELECT type || ' ' || name || CASE WHEN type = 'trigger' THEN ' of ' || tbl_name ELSE '' END, tbl_name
			FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY 1`,
			func(word, table string) bool {
				return strings.HasPrefix(word, "trigger ") && slices.Contains(names, table) ||
					!strings.HasPrefix(word, "trigger ") && table != history && !slices.Contains(names, table)
			})
	}
	var enums []string
	for _, o := range target.Objects {
		enums = append(enums, objectName(o))
	}
	return words(ctx, s, `
		SELECT CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || relname, relname
			FROM pg_class c WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
			AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i', 'e')))
		UNION ALL SELECT 'type ' || typname, 'type ' || typname FROM pg_type t
			WHERE typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c')
			AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = t.oid AND deptype = 'e')
		UNION ALL SELECT 'function ' || proname, '' FROM pg_proc p
			WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
			AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
		UNION ALL SELECT x.word || ' of ' || c.relname, '+' || c.relname
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1,
			LATERAL (
				SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal
				UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = c.oid AND rulename <> '_RETURN'
				UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = c.oid
				UNION ALL SELECT 'row level security' WHERE c.relrowsecurity
				UNION ALL SELECT 'forced row level security' WHERE c.relforcerowsecurity
				UNION ALL SELECT 'owner ' || c.relowner::regrole::text WHERE c.relowner <> quote_ident(current_user)::regrole
				UNION ALL SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxrelid = c.oid
				UNION ALL SELECT DISTINCT 'rights on column ' || attname || ' of ' || CASE grantee WHEN 0 THEN 'everybody' ELSE grantee::regrole::text END
					FROM pg_attribute, aclexplode(attacl) WHERE attrelid = c.oid AND NOT attisdropped
				UNION ALL SELECT DISTINCT 'rights of ' || CASE grantee WHEN 0 THEN 'everybody' ELSE grantee::regrole::text END
					FROM aclexplode(c.relacl) WHERE grantee <> c.relowner
				UNION ALL SELECT 'reference ' || conname || ' from ' || conrelid::regclass::text FROM pg_constraint
					WHERE confrelid = c.oid AND contype = 'f' AND conrelid <> c.oid AND conparentid = 0
			) AS x(word) WHERE c.relkind IN ('r', 'p')
		ORDER BY 1`,
		func(word, table string) bool {
			switch {
			case strings.HasPrefix(table, "+"):
				if !slices.Contains(names, table[1:]) {
					return false
				}
				// References among our own tables are declared.
				return !strings.HasPrefix(word, "reference ") || !slices.ContainsFunc(names, func(n string) bool {
					t, _ := target.Table(n)
					return slices.ContainsFunc(t.ForeignKeys, func(k *schema.ForeignKey) bool {
						return strings.HasPrefix(word, "reference "+k.Symbol+" from ")
					})
				})
			case strings.HasPrefix(table, "type "):
				return !slices.Contains(enums, table[5:])
			}
			return !slices.Contains(names, table)
		}, s.Tables())
}

// words returns the first column of the rows of a query that are meant.
func words(
	ctx context.Context, s *migration.Connection, query string, meant func(word, about string) bool, arguments ...any,
) (found []string, err error) {
	rows, err := s.Conn().QueryContext(ctx, query, arguments...)
	if err != nil {
		return nil, script.Failure("look for what is not ours", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var word, about string
		if err := rows.Scan(&word, &about); err != nil {
			return nil, err
		}
		if meant(word, about) {
			found = append(found, word)
		}
	}
	return found, rows.Err()
}
