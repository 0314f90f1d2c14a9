package main

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
	"github.com/softbee/accounts/ent/user"
)

// viaEnt is ent's generated client on lib/pq, as its guide opens it. The list of tokens is changed by the raw statement.
type viaEnt struct {
	driver *entsql.Driver
	client *ent.Client
}

func openEnt(address string, workers int) (system, error) {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	driver := entsql.OpenDB(dialect.Postgres, db)
	return &viaEnt{driver, ent.NewClient(ent.Driver(driver))}, nil
}

func (s *viaEnt) close() { _ = s.client.Close() }

func (s *viaEnt) findID(ctx context.Context, id domain.ID) error {
	_, err := s.client.User.Get(ctx, id.UUID())
	return err
}

func (s *viaEnt) findEmail(ctx context.Context, email string) error {
	_, err := s.client.User.Query().Where(user.Email(email)).Only(ctx)
	return err
}

func (s *viaEnt) existsEmail(ctx context.Context, email string) error {
	_, err := s.client.User.Query().Where(user.Email(email)).Exist(ctx)
	return err
}

func (s *viaEnt) findToken(ctx context.Context, token domain.RefreshToken) error {
	return s.findID(ctx, token.UserID())
}

func (s *viaEnt) create(ctx context.Context, u *domain.User) error {
	_, err := s.client.User.Create().SetID(u.ID().UUID()).SetEmail(u.Email().String()).SetUsername(u.Username().String()).
		SetHashedPassword(passwordHash).SetCreatedAt(u.CreatedAt()).SetUpdatedAt(u.UpdatedAt()).Save(ctx)
	return err
}

func (s *viaEnt) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	c, err := newIssue(id)
	if err != nil {
		return c.token, err
	}
	return c.token, affected(s.driver.DB().ExecContext(ctx, issueText, c.issueArgs()...))
}

func (s *viaEnt) rotateToken(ctx context.Context, presented domain.RefreshToken) (domain.RefreshToken, error) {
	c, err := newRotation(presented)
	if err != nil {
		return c.token, err
	}
	return c.token, affected(s.driver.DB().ExecContext(ctx, rotateText, c.rotateArgs()...))
}

func (s *viaEnt) login(ctx context.Context, id domain.ID) error {
	now := time.Now()
	_, err := s.client.User.UpdateOneID(id.UUID()).
		Where(user.HashedPassword(passwordHash), user.IsActive(true), user.Or(user.LockedUntilIsNil(), user.LockedUntilLTE(now))).
		SetLastLogin(now).SetFailedLoginAttempts(0).ClearLockedUntil().Save(ctx)
	return err
}

func (s *viaEnt) lastLogin(ctx context.Context, id domain.ID) error {
	_, err := s.client.User.UpdateOneID(id.UUID()).SetLastLogin(time.Now()).Save(ctx)
	return err
}

func (s *viaEnt) listPage(ctx context.Context, createdAt time.Time, id domain.ID) error {
	query := s.client.User.Query()
	if !createdAt.IsZero() {
		query.Where(func(s *entsql.Selector) {
			s.Where(entsql.CompositeGT([]string{s.C(user.FieldCreatedAt), s.C(user.FieldID)}, createdAt, id.UUID()))
		})
	}
	_, err := query.Order(user.ByCreatedAt(), user.ByID()).Limit(pageSize + 1).Select(strings.Split(listedColumns, ", ")...).All(ctx)
	return err
}
