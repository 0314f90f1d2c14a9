package main

import (
	"context"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// viaStore is the way that this library is, on lib/pq or on pgx.
type viaStore struct {
	store *infra.Store
	hash  domain.PasswordHash
}

func openStore(store *infra.Store, err error) (system, error) {
	if err != nil {
		return nil, err
	}
	hash, err := domain.ParsePasswordHash(passwordHash)
	return viaStore{store, hash}, err
}

func (s viaStore) close() { _ = s.store.Close() }

func (s viaStore) findID(ctx context.Context, id domain.ID) error {
	_, err := s.store.FindByID(ctx, id)
	return err
}

func (s viaStore) findEmail(ctx context.Context, text string) error {
	email, err := domain.RestoreEmail(text)
	if err == nil {
		_, err = s.store.FindByEmail(ctx, email)
	}
	return err
}

func (s viaStore) existsEmail(ctx context.Context, text string) error {
	email, err := domain.RestoreEmail(text)
	if err == nil {
		_, err = s.store.ExistsByEmail(ctx, email)
	}
	return err
}

func (s viaStore) findToken(ctx context.Context, token domain.RefreshToken) error {
	_, _, err := s.store.FindByToken(ctx, token)
	return err
}

func (s viaStore) create(ctx context.Context, u *domain.User) error { return s.store.Create(ctx, u) }

func (s viaStore) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	grant, err := s.store.IssueToken(ctx, id, policy)
	return grant.Token, err
}

func (s viaStore) rotateToken(ctx context.Context, token domain.RefreshToken) (domain.RefreshToken, error) {
	grant, err := s.store.RotateToken(ctx, token, policy)
	return grant.Token, err
}

func (s viaStore) login(ctx context.Context, id domain.ID) error {
	_, err := s.store.RecordSuccess(ctx, id, s.hash, domain.PasswordHash{})
	return err
}

func (s viaStore) lastLogin(ctx context.Context, id domain.ID) error {
	_, err := s.store.RecordSignIn(ctx, id)
	return err
}

func (s viaStore) listPage(ctx context.Context, createdAt time.Time, id domain.ID) error {
	if createdAt.IsZero() {
		_, err := s.store.List(ctx, domain.ListQuery{})
		return err
	}
	u, err := domain.RestoreUser(domain.UserState{ID: id, Email: anyEmail, Username: anyUsername, CreatedAt: createdAt})
	if err != nil {
		return err
	}
	_, err = s.store.List(ctx, domain.ListQuery{After: domain.ListQuery{}.CursorAfter(u)})
	return err
}

var (
	anyEmail, _    = domain.RestoreEmail("a@example.org")
	anyUsername, _ = domain.RestoreUsername("abc")
)
