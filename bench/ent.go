package main

import (
	"context"
	"database/sql"
	"encoding/json"
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
	texts  statements
}

func openEnt(address string, workers int, texts statements) (system, error) {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	driver := entsql.OpenDB(dialect.Postgres, db)
	return &viaEnt{driver, ent.NewClient(ent.Driver(driver)), texts}, nil
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

func (s *viaEnt) hasToken(ctx context.Context, token domain.RefreshToken) error {
	var one any
	return s.driver.DB().QueryRowContext(ctx, s.texts.has, hasArgs(token)...).Scan(&one)
}

func (s *viaEnt) create(ctx context.Context, u *domain.User) error {
	_, err := s.client.User.Create().SetID(u.ID().UUID()).SetEmail(u.Email().String()).SetUsername(u.Username().String()).
		SetHashedPassword(passwordHash).SetCreatedAt(u.CreatedAt()).SetUpdatedAt(u.UpdatedAt()).Save(ctx)
	return err
}

func (s *viaEnt) raw(ctx context.Context, text string, args ...any) error {
	var r record
	var list []byte
	if err := s.driver.DB().QueryRowContext(ctx, text, args...).Scan(r.pointers(&list)...); err != nil {
		return err
	}
	return json.Unmarshal(list, &r.RefreshTokens)
}

func (s *viaEnt) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	token, args, err := issueArgs(id)
	if err != nil {
		return token, err
	}
	return token, s.raw(ctx, s.texts.issue, args...)
}

func (s *viaEnt) rotateToken(ctx context.Context, presented domain.RefreshToken) (domain.RefreshToken, error) {
	token, args, err := rotateArgs(presented)
	if err != nil {
		return token, err
	}
	return token, s.raw(ctx, s.texts.rotate, args...)
}

func (s *viaEnt) login(ctx context.Context, id domain.ID) error {
	now := time.Now()
	_, err := s.client.User.UpdateOneID(id.UUID()).
		Where(user.HashedPassword(passwordHash), user.IsActive(true), user.Or(user.LockedUntilIsNil(), user.LockedUntilLTE(now))).
		SetLastLogin(now).SetFailedLoginAttempts(0).ClearLockedUntil().AddVersion(1).Save(ctx)
	return err
}

func (s *viaEnt) lastLogin(ctx context.Context, id domain.ID) error {
	_, err := s.client.User.UpdateOneID(id.UUID()).SetLastLogin(time.Now()).AddVersion(1).Save(ctx)
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
