package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/softbee/accounts/domain"
)

// writer is a system that does the writes which are compared with the smallest statements alone.
type writer interface {
	// failure counts a wrong password.
	failure(ctx context.Context, id domain.ID) error
	setPassword(ctx context.Context, id domain.ID, hash domain.PasswordHash) error
	setNames(ctx context.Context, id domain.ID, names domain.Names) error
	// revokeToken ends the session of a token.
	revokeToken(ctx context.Context, token domain.RefreshToken) error
}

// The operations of a writer.
const (
	failureOperation     = "failure"
	setPasswordOperation = "set_password"
	setNamesOperation    = "set_names"
	revokeOperation      = "issue_revoke" // both, so that there is always a session to end
)

func supports(s system, operation string) bool {
	switch operation {
	case failureOperation, setPasswordOperation, setNamesOperation, revokeOperation:
		_, ok := s.(writer)
		return ok
	}
	return true
}

func (s viaStore) failure(ctx context.Context, id domain.ID) error {
	_, err := s.store.RecordFailure(ctx, id, domain.LockPolicy{})
	return err
}

func (s viaStore) setPassword(ctx context.Context, id domain.ID, hash domain.PasswordHash) error {
	_, err := s.store.SetPassword(ctx, id, domain.PasswordHash{}, hash, domain.SessionID{})
	return err
}

func (s viaStore) setNames(ctx context.Context, id domain.ID, names domain.Names) error {
	_, err := s.store.SetNames(ctx, id, names)
	return err
}

func (s viaStore) revokeToken(ctx context.Context, token domain.RefreshToken) error {
	_, err := s.store.RevokeSession(ctx, token.UserID(), token.SessionID())
	return err
}

// floor does by lib/pq, prepared, what the smallest statement does: an account is made with what it must have, a sign-in is a bare
// last_login, and an edit raises the version and nothing else.
type floor struct {
	*viaPQ
	loginStmt, failureStmt, passwordStmt, namesStmt, revokeStmt *sql.Stmt
}

func openFloor(ctx context.Context, address string, workers int) (system, error) {
	s, err := openPQ(ctx, address, workers)
	if err != nil {
		return nil, err
	}
	f := floor{viaPQ: s}
	for text, statement := range map[string]**sql.Stmt{
		"UPDATE users SET last_login = $2 WHERE id = $1":                                                    &f.loginStmt,
		"UPDATE users SET failed_login_attempts = failed_login_attempts + 1 WHERE id = $1":                  &f.failureStmt,
		"UPDATE users SET hashed_password = $2, refresh_tokens = '[]', version = version + 1 WHERE id = $1": &f.passwordStmt,
		"UPDATE users SET first_name = $2, last_name = $3, version = version + 1 WHERE id = $1":             &f.namesStmt,
		"UPDATE users SET refresh_tokens = refresh_tokens - $2::text WHERE id = $1 AND refresh_tokens ? $2": &f.revokeStmt,
	} {
		if *statement, err = s.db.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f floor) login(ctx context.Context, id domain.ID) error {
	return affected(f.loginStmt.ExecContext(ctx, id.UUID(), time.Now()))
}

func (f floor) lastLogin(ctx context.Context, id domain.ID) error { return f.login(ctx, id) }

func (f floor) failure(ctx context.Context, id domain.ID) error {
	return affected(f.failureStmt.ExecContext(ctx, id.UUID()))
}

func (f floor) setPassword(ctx context.Context, id domain.ID, hash domain.PasswordHash) error {
	return affected(f.passwordStmt.ExecContext(ctx, id.UUID(), hash.Stored()))
}

func (f floor) setNames(ctx context.Context, id domain.ID, names domain.Names) error {
	return affected(f.namesStmt.ExecContext(ctx, id.UUID(), names.First, names.Last))
}

func (f floor) revokeToken(ctx context.Context, token domain.RefreshToken) error {
	c, err := newRotation(token) // which knows the text of the token's entry
	if err != nil {
		return err
	}
	return affected(f.revokeStmt.ExecContext(ctx, c.id, c.live))
}
