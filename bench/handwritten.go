package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
)

// Statements as one writes them by hand.
const (
	findIDText    = "SELECT " + columns + " FROM users WHERE id = $1"
	findEmailText = "SELECT " + columns + " FROM users WHERE email = $1"
	existsText    = "SELECT 1 FROM users WHERE email = $1"
	createText    = "INSERT INTO users (id, email, username, hashed_password, is_active, is_verified, refresh_tokens, " +
		"failed_login_attempts, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
	loginText = "UPDATE users SET last_login = $1, failed_login_attempts = 0, locked_until = NULL, " +
		"updated_at = $1 WHERE id = $2 AND hashed_password = $3 AND is_active AND (locked_until IS NULL OR locked_until <= $1) RETURNING " + columns
	lastLoginText = "UPDATE users SET last_login = $1, updated_at = $1 WHERE id = $2 RETURNING " + columns
	listText      = "SELECT " + listedColumns + " FROM users WHERE (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT 51"
	listFirstText = "SELECT " + listedColumns + " FROM users ORDER BY created_at, id LIMIT 51"
)

func createArgs(u *domain.User) []any {
	r := newRecord(u)
	return []any{
		r.ID, r.Email, r.Username, r.HashedPassword, r.IsActive, r.IsVerified, "[]", r.FailedLoginAttempts, r.Version, r.CreatedAt, r.UpdatedAt,
	}
}

// viaPQ is lib/pq by database/sql, each statement prepared once on each connection.
type viaPQ struct {
	db *sql.DB

	findIDStmt, findEmailStmt, existsStmt, createStmt, issueStmt, rotateStmt, loginStmt, lastLoginStmt *sql.Stmt
	listStmt, listFirstStmt                                                                            *sql.Stmt
}

func openPQ(ctx context.Context, address string, workers int) (*viaPQ, error) {
	connector, err := pq.NewConnector(address)
	if err != nil {
		return nil, err
	}
	s := &viaPQ{db: sql.OpenDB(connector)}
	s.db.SetMaxOpenConns(workers)
	s.db.SetMaxIdleConns(workers)
	for text, statement := range map[string]**sql.Stmt{
		findIDText: &s.findIDStmt, findEmailText: &s.findEmailStmt, existsText: &s.existsStmt, createText: &s.createStmt,
		issueText: &s.issueStmt, rotateText: &s.rotateStmt, loginText: &s.loginStmt, lastLoginText: &s.lastLoginStmt, listText: &s.listStmt,
		listFirstText: &s.listFirstStmt,
	} {
		if *statement, err = s.db.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *viaPQ) close() { _ = s.db.Close() }

func (s *viaPQ) one(ctx context.Context, statement *sql.Stmt, args ...any) error {
	var r record
	var list []byte
	if err := statement.QueryRowContext(ctx, args...).Scan(r.pointers(&list)...); err != nil {
		return err
	}
	return json.Unmarshal(list, &r.RefreshTokens)
}

func (s *viaPQ) exists(ctx context.Context, statement *sql.Stmt, args ...any) error {
	var one any
	return statement.QueryRowContext(ctx, args...).Scan(&one)
}

func (s *viaPQ) findID(ctx context.Context, id domain.ID) error {
	return s.one(ctx, s.findIDStmt, id.UUID())
}

func (s *viaPQ) findEmail(ctx context.Context, email string) error {
	return s.one(ctx, s.findEmailStmt, email)
}

func (s *viaPQ) existsEmail(ctx context.Context, email string) error {
	return s.exists(ctx, s.existsStmt, email)
}

func (s *viaPQ) findToken(ctx context.Context, token domain.RefreshToken) error {
	return s.findID(ctx, token.UserID())
}

func (s *viaPQ) create(ctx context.Context, u *domain.User) error {
	_, err := s.createStmt.ExecContext(ctx, createArgs(u)...)
	return err
}

func (s *viaPQ) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	c, err := newIssue(id)
	if err != nil {
		return c.token, err
	}
	return c.token, affected(s.issueStmt.ExecContext(ctx, c.issueArgs()...))
}

func (s *viaPQ) rotateToken(ctx context.Context, presented domain.RefreshToken) (domain.RefreshToken, error) {
	c, err := newRotation(presented)
	if err != nil {
		return c.token, err
	}
	return c.token, affected(s.rotateStmt.ExecContext(ctx, c.rotateArgs()...))
}

func (s *viaPQ) login(ctx context.Context, id domain.ID) error {
	return s.one(ctx, s.loginStmt, time.Now(), id.UUID(), passwordHash)
}

func (s *viaPQ) lastLogin(ctx context.Context, id domain.ID) error {
	return s.one(ctx, s.lastLoginStmt, time.Now(), id.UUID())
}

func (s *viaPQ) listPage(ctx context.Context, createdAt time.Time, id domain.ID) error {
	statement, args := s.listStmt, []any{createdAt, id.UUID()}
	if createdAt.IsZero() {
		statement, args = s.listFirstStmt, nil
	}
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	_, err = scanPage(rows)
	return errors.Join(err, rows.Close())
}

func scanPage(rows *sql.Rows) (page []record, err error) {
	for rows.Next() {
		var r record
		var list []byte
		if err := rows.Scan(r.listed(&list)...); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(list, &r.RefreshTokens); err != nil {
			return nil, err
		}
		page = append(page, r)
	}
	return page, rows.Err()
}

// viaPGX is pgx with its own pool, which prepares and caches by itself.
type viaPGX struct {
	pool *pgxpool.Pool
}

func openPGX(ctx context.Context, address string, workers int) (system, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(workers)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &viaPGX{pool}, err
}

func (s *viaPGX) close() { s.pool.Close() }

func (s *viaPGX) one(ctx context.Context, text string, args ...any) error {
	var r record
	return s.pool.QueryRow(ctx, text, args...).Scan(r.pointers(&r.RefreshTokens)...)
}

func (s *viaPGX) findID(ctx context.Context, id domain.ID) error {
	return s.one(ctx, findIDText, id.UUID())
}

func (s *viaPGX) findEmail(ctx context.Context, email string) error {
	return s.one(ctx, findEmailText, email)
}

func (s *viaPGX) existsEmail(ctx context.Context, email string) error {
	var one int
	return s.pool.QueryRow(ctx, existsText, email).Scan(&one)
}

func (s *viaPGX) findToken(ctx context.Context, token domain.RefreshToken) error {
	return s.findID(ctx, token.UserID())
}

func (s *viaPGX) create(ctx context.Context, u *domain.User) error {
	_, err := s.pool.Exec(ctx, createText, createArgs(u)...)
	return err
}

func (s *viaPGX) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	c, err := newIssue(id)
	if err != nil {
		return c.token, err
	}
	tag, err := s.pool.Exec(ctx, issueText, c.issueArgs()...)
	return c.token, one(tag.RowsAffected(), err)
}

func (s *viaPGX) rotateToken(ctx context.Context, presented domain.RefreshToken) (domain.RefreshToken, error) {
	c, err := newRotation(presented)
	if err != nil {
		return c.token, err
	}
	tag, err := s.pool.Exec(ctx, rotateText, c.rotateArgs()...)
	return c.token, one(tag.RowsAffected(), err)
}

func (s *viaPGX) login(ctx context.Context, id domain.ID) error {
	return s.one(ctx, loginText, time.Now(), id.UUID(), passwordHash)
}

func (s *viaPGX) lastLogin(ctx context.Context, id domain.ID) error {
	return s.one(ctx, lastLoginText, time.Now(), id.UUID())
}

func (s *viaPGX) listPage(ctx context.Context, createdAt time.Time, id domain.ID) error {
	text, args := listText, []any{createdAt, id.UUID()}
	if createdAt.IsZero() {
		text, args = listFirstText, nil
	}
	rows, err := s.pool.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r record, err error) {
		return r, row.Scan(r.listed(&r.RefreshTokens)...)
	})
	return err
}
