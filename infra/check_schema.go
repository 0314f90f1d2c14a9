package infra

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/accountevent"
	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/infra/internal/fault"
)

// CheckSchema returns [domain.ErrDrift], with all that is missing or different, unless the tables hold what the store needs: each column with
// its type, default and NOT NULL, each check, unique index and foreign key, and the triggers that keep the audit trail append-only, by their names. What is
// there beside them does not matter. It is for an application
// whose own migrations make the tables (docs/embedding.md), at its start; where the migrations are this module's, call
// [Store.CheckMigrations].
//
// An application that has left out a table, such as "identities", names it in without; the methods that need it then return
// [domain.ErrPendingMigrations]. A name that is no table of the store's, or users, is [domain.ErrInvalid].
//
// It makes the declared tables as temporary ones, compares and rolls back. On PostgreSQL the role needs the privilege TEMPORARY, which all have by default.
func (s *Store) CheckSchema(ctx context.Context, without ...string) error {
	const op = "check schema"
	for _, table := range without {
		if table == usersTable || !slices.Contains(declaredTables(desired.Postgres), "'"+table+"'") {
			return wrap(op, invalid("without", fmt.Sprintf("%q is not a table that can be left out", table)))
		}
	}
	var problems []string
	err := s.InTx(ctx, func(tx *Tx) (err error) {
		problems, err = tx.compareSchema(ctx, without)
		if err == nil {
			err = errDone
		}
		return err
	})
	switch {
	case !errors.Is(err, errDone):
		return s.failure(ctx, op, err)
	case len(problems) > 0:
		return wrap(op, &domain.Error{Kind: domain.ErrDrift, Reason: strings.Join(problems, "; ")})
	}
	return nil
}

// errDone rolls a transaction back that has done its work.
var errDone = errors.New("done")

// part is something that a table has: a column, a check, a unique index, a foreign key or a trigger.
type part struct{ table, kind, name, definition string }

// compareSchema makes the declared tables temporarily, and returns what the real ones lack of them.
func (t *Tx) compareSchema(ctx context.Context, without []string) ([]string, error) {
	for _, statement := range t.dialect.temporary {
		if _, err := t.handle.Exec(ctx, statement); err != nil {
			if fault.Of(err).Code == "42501" {
				return nil, &domain.Error{Kind: domain.ErrInternal, Reason: "the role lacks the privilege TEMPORARY, which the check needs"}
			}
			return nil, err
		}
	}
	schema := t.schema
	if schema == "" {
		schema = "main" // SQLite's
	}
	declared, err := t.dialect.parts(ctx, t, t.dialect.temporarySchema)
	if err != nil {
		return nil, err
	}
	for _, trigger := range t.dialect.triggers {
		declared = append(declared, part{accountevent.Table, "trigger", trigger, "it refuses changes of the trail"})
	}
	found, err := t.dialect.parts(ctx, t, schema)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, want := range declared {
		if slices.Contains(without, want.table) {
			continue
		}
		if !slices.ContainsFunc(found, func(p part) bool { return p.table == want.table }) {
			if problem := "table " + want.table + " is missing"; !slices.Contains(problems, problem) {
				problems = append(problems, problem)
			}
			continue
		}
		same := func(p part) bool { return p.table == want.table && p.kind == want.kind }
		if want.kind == "trigger" {
			if !slices.ContainsFunc(found, func(p part) bool { return same(p) && p.name == want.name }) {
				problems = append(problems, fmt.Sprintf("trigger %s of %s is missing or disabled: %s", want.name, want.table, want.definition))
			}
			continue
		}
		if want.kind != "column" { // others may have other names
			if !slices.ContainsFunc(found, func(p part) bool { return same(p) && p.definition == want.definition }) {
				problems = append(problems, fmt.Sprintf("%s %s of %s is missing: %s", want.kind, want.name, want.table, want.definition))
			}
			continue
		}
		i := slices.IndexFunc(found, func(p part) bool { return same(p) && p.name == want.name })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("column %s.%s is missing: expected %s", want.table, want.name, want.definition))
		case found[i].definition != want.definition:
			problems = append(problems, fmt.Sprintf("column %s.%s is %s: expected %s", want.table, want.name, found[i].definition, want.definition))
		}
	}
	return problems, nil
}

// declaredTables are the tables of a declared schema.
func declaredTables(text string) []string {
	var names []string
	for _, match := range createTable.FindAllStringSubmatch(text, -1) {
		names = append(names, "'"+match[1]+"'")
	}
	return names
}

var createTable = regexp.MustCompile("(?m)^CREATE TABLE [`\"](\\w+)[`\"]")

func scanPart(rows Rows) (p part, err error) {
	err = rows.Scan(&p.table, &p.kind, &p.name, &p.definition)
	return p, err
}
