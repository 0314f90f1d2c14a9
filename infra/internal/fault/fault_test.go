package fault

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/softbee/accounts/domain"
)

type codeError struct {
	code int
	text string
}

func (e codeError) Error() string { return e.text }
func (e codeError) Code() int     { return e.code }

func TestFaultsOfDrivers(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want Fault
	}{
		"lib/pq": {&pq.Error{Code: "23505", Table: "users", Constraint: "users_email_key"},
			Fault{Class: Unique, Code: "23505", Where: "SQLSTATE 23505", Table: "users", Constraint: "users_email_key"}},
		"pgx": {&pgconn.PgError{Code: "23505", TableName: "users", ConstraintName: "users_email_key"},
			Fault{Class: Unique, Code: "23505", Where: "SQLSTATE 23505", Table: "users", Constraint: "users_email_key"}},
		"pgx, a connection that it has closed": {pgconn.ErrConnClosed, Fault{Class: Unavailable, Where: "connection", Unknown: true}},
		"missing value": {&pgconn.PgError{Code: "23502", TableName: "users", ColumnName: "org_id"},
			Fault{Class: Check, Code: "23502", Where: "SQLSTATE 23502", Table: "users", Column: "org_id"}},
		"SQLite": {codeError{2067, "constraint failed: UNIQUE constraint failed: users.email (2067)"},
			Fault{Class: Unique, Code: "2067", Where: "SQLite 2067", Table: "users", Constraint: "users.email", Column: "email"}},
		"SQLite, an index on an expression": {codeError{2067, "constraint failed: UNIQUE constraint failed: index 'app_idx' (2067)"},
			Fault{Class: Unique, Code: "2067", Where: "SQLite 2067", Table: "app_idx", Constraint: "app_idx"}},
		"SQLite, a check": {codeError{275, "constraint failed: CHECK constraint failed: users_email_check (275)"},
			Fault{Class: Check, Code: "275", Where: "SQLite 275", Constraint: "users_email_check"}},
	} {
		for how, err := range map[string]error{"bare": test.err, "wrapped": fmt.Errorf("call: %w", test.err), "joined": errors.Join(test.err, errors.New("close"))} {
			if got := Of(err); got != test.want {
				t.Errorf("%s, %s: %+v; want %+v", name, how, got, test.want)
			}
		}
	}
}

func TestWordsOfSQLite(t *testing.T) {
	for code, want := range map[int]string{
		8: "it cannot be written, SQLite 8", 14: "the file cannot be opened, SQLite 14", 526: "it is a directory, SQLite 526",
		1544: "its directory cannot be written, SQLite 1544", 522: "reading or writing failed, SQLite 522", 1: "SQLite 1",
	} {
		if got := Of(codeError{code, ""}).Where; got != want {
			t.Errorf("%d is %q; want %q", code, got, want)
		}
	}
}

func TestKinds(t *testing.T) {
	for code, want := range map[string]domain.Kind{
		"23503": domain.ErrReferenced, "23505": domain.ErrTaken, "23514": domain.ErrInvalid, "22001": domain.ErrInvalid, "P0001": domain.ErrInvalid,
		"40001": domain.ErrUnavailable, "40P01": domain.ErrUnavailable, "57P01": domain.ErrUnavailable, "57P03": domain.ErrUnavailable,
		"25006": domain.ErrUnavailable, "53300": domain.ErrUnavailable, "55P03": domain.ErrUnavailable,
		"42P01": domain.ErrPendingMigrations, "42703": domain.ErrPendingMigrations,
		"42501": domain.ErrInternal, "42601": domain.ErrInternal, "25P02": domain.ErrInternal, "XX000": domain.ErrInternal, "0A000": domain.ErrInternal,
	} {
		if got := Of(&pq.Error{Code: pqerror.Code(code)}).Kind(); got != want {
			t.Errorf("%s is %s; want %s", code, got, want)
		}
	}
	for code, want := range map[int]domain.Kind{
		787: domain.ErrReferenced, 1811: domain.ErrInvalid, 1299: domain.ErrInvalid, 5: domain.ErrUnavailable, 517: domain.ErrUnavailable,
		8: domain.ErrUnavailable, 13: domain.ErrUnavailable, 1: domain.ErrInternal, 21: domain.ErrInternal,
	} {
		if got := Of(codeError{code: code}).Kind(); got != want {
			t.Errorf("SQLite's %d is %s; want %s", code, got, want)
		}
	}
	if got := Of(errors.New("something else")).Kind(); got != domain.ErrInternal {
		t.Errorf("an unknown error is %s", got)
	}
}
