package infra

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// statements are the texts of what is asked most often, built once. Building one anew for each call costs more than sending
// it, and as much as all else that the program does for a lookup: docs/performance.md has the figures.
type statements struct {
	find   map[string]string // by a unique column; the argument is its value
	exists map[string]string // likewise

	create      string // rowValues
	signIn      string // now twice, the ID
	success     string // now, the next hash, now, the ID, the checked hash, now
	hasToken    string // the ID, now, the session and digest
	issueToken  string // those of dialectSQL.issued, now, the ID
	rotateToken string // those of dialectSQL.rotated, now, the ID, now, the session
}

func newStatements(database string) statements {
	d := postgresSQL
	if database == dialect.SQLite {
		d = sqliteSQL
	}
	columns := strings.Join(user.Columns, ", ")
	s := statements{find: make(map[string]string), exists: make(map[string]string)}
	for _, column := range []string{user.FieldID, user.FieldEmail, user.FieldUsername, user.FieldResetToken, user.FieldVerificationToken} {
		s.find[column] = numbered(database, fmt.Sprintf("SELECT %s FROM users WHERE %s = ?", columns, column))
		s.exists[column] = numbered(database, fmt.Sprintf("SELECT 1 FROM users WHERE %s = ?", column))
	}
	s.create = numbered(database, fmt.Sprintf("INSERT INTO users (%s) VALUES (?%s)", columns, strings.Repeat(", ?", len(user.Columns)-1)))
	s.hasToken = numbered(database, "SELECT 1 FROM users WHERE id = ? AND is_active AND "+
		d.hasEntry(substring(domain.EntrySession, domain.EntrySessionLen+1+domain.EntryDigestLen)+" = ?"))
	s.signIn = numbered(database, "UPDATE users SET last_login = ?, version = version + 1, updated_at = ? WHERE id = ? RETURNING "+columns)
	s.success = numbered(database, "UPDATE users SET last_login = ?, hashed_password = ?, failed_login_attempts = 0, locked_until = NULL,"+
		" version = version + 1, updated_at = ? WHERE id = ? AND hashed_password = ? AND is_active"+
		" AND (locked_until IS NULL OR locked_until <= ?) RETURNING "+columns)
	const update = "UPDATE users SET refresh_tokens = %s, version = version + 1, updated_at = ? WHERE id = ? AND is_active%s RETURNING %s"
	s.issueToken = numbered(database, fmt.Sprintf(update, d.issued(), "", columns))
	s.rotateToken = numbered(database, fmt.Sprintf(update, d.rotated(), " AND "+d.hasEntry("s = ?"), columns))
	return s
}

// numbered returns a text in which each ? stands for an argument as the database wants it.
func numbered(database, text string) string {
	if database != dialect.Postgres {
		return text
	}
	var b strings.Builder
	for i, part := range strings.Split(text, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// one runs a statement that returns user.Columns of at most one account; nil if of none.
func (s *Store) one(ctx context.Context, op, query string, args ...any) (*domain.User, error) {
	var rows sql.Rows
	if err := s.driver.Query(ctx, query, args, &rows); err != nil {
		return nil, s.failure(ctx, op, err)
	}
	u, err := scanOne(&rows)
	if err != nil {
		return nil, s.failure(ctx, op, err)
	}
	return u, nil
}

// find returns the account that has a value in a unique column.
func (s *Store) find(ctx context.Context, op, column string, value any) (*domain.User, error) {
	u, err := s.one(ctx, op, s.texts.find[column], value)
	if err == nil && u == nil {
		return nil, wrap(op, notFound())
	}
	return u, err
}

// exists tells whether a statement returns a row.
func (s *Store) exists(ctx context.Context, op, query string, args ...any) (bool, error) {
	var rows sql.Rows
	if err := s.driver.Query(ctx, query, args, &rows); err != nil {
		return false, s.failure(ctx, op, err)
	}
	exists := rows.Next()
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return false, s.failure(ctx, op, err)
	}
	return exists, nil
}

// scan calls read for each row that the query returns.
func (s *Store) scan(ctx context.Context, op, query string, args []any, read func(*sql.Rows) error) (err error) {
	var rows sql.Rows
	if err := s.driver.Query(ctx, query, args, &rows); err != nil {
		return s.failure(ctx, op, err)
	}
	defer func() {
		if e := rows.Close(); e != nil && err == nil {
			err = s.failure(ctx, op, e)
		}
	}()
	for rows.Next() {
		if err := read(&rows); err != nil {
			return s.failure(ctx, op, err)
		}
	}
	if err := rows.Err(); err != nil {
		return s.failure(ctx, op, err)
	}
	return nil
}
