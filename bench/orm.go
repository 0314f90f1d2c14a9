package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/softbee/accounts/domain"
)

// viaGORM is GORM as its guide tunes it: prepared statements are cached and there is no transaction around single writes.
type viaGORM struct {
	db *gorm.DB
}

func openGORM(address string, workers int) (system, error) {
	db, err := gorm.Open(postgres.Open(address), &gorm.Config{
		PrepareStmt: true, SkipDefaultTransaction: true, Logger: logger.Discard,
	})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(workers)
	pool.SetMaxIdleConns(workers)
	return &viaGORM{db}, nil
}

func (s *viaGORM) close() {
	if pool, err := s.db.DB(); err == nil {
		_ = pool.Close()
	}
}

// found is the error of a statement; of one that found no row too, which GORM does not take for an error.
func found(done *gorm.DB) error {
	if done.Error == nil && done.RowsAffected == 0 {
		return gorm.ErrRecordNotFound
	}
	return done.Error
}

func (s *viaGORM) findID(ctx context.Context, id domain.ID) error {
	var r record
	return s.db.WithContext(ctx).Where("id = ?", id.UUID()).Take(&r).Error
}

func (s *viaGORM) findEmail(ctx context.Context, email string) error {
	var r record
	return s.db.WithContext(ctx).Where("email = ?", email).Take(&r).Error
}

func (s *viaGORM) existsEmail(ctx context.Context, email string) error {
	var one int
	return found(s.db.WithContext(ctx).Model(&record{}).Select("1").Where("email = ?", email).Limit(1).Scan(&one))
}

func (s *viaGORM) findToken(ctx context.Context, token domain.RefreshToken) error {
	return s.findID(ctx, token.UserID())
}

func (s *viaGORM) create(ctx context.Context, u *domain.User) error {
	return s.db.WithContext(ctx).Create(newRecord(u)).Error
}

func (s *viaGORM) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	c, err := newIssue(id)
	if err != nil {
		return c.token, err
	}
	return c.token, found(s.db.WithContext(ctx).Exec(issueMarks, c.issueMarks()...))
}

func (s *viaGORM) rotateToken(ctx context.Context, presented domain.RefreshToken) (domain.RefreshToken, error) {
	c, err := newRotation(presented)
	if err != nil {
		return c.token, err
	}
	return c.token, found(s.db.WithContext(ctx).Exec(rotateMarks, c.rotateMarks()...))
}

func (s *viaGORM) login(ctx context.Context, id domain.ID) error {
	now := time.Now()
	var r record
	return found(s.db.WithContext(ctx).Model(&r).Clauses(clause.Returning{}).
		Where("id = ? AND hashed_password = ? AND is_active AND (locked_until IS NULL OR locked_until <= ?)", id.UUID(), passwordHash, now).
		Updates(map[string]any{
			"last_login": now, "failed_login_attempts": 0, "locked_until": nil, "updated_at": now,
		}))
}

func (s *viaGORM) lastLogin(ctx context.Context, id domain.ID) error {
	now := time.Now()
	var r record
	return found(s.db.WithContext(ctx).Model(&r).Clauses(clause.Returning{}).Where("id = ?", id.UUID()).
		Updates(map[string]any{"last_login": now, "updated_at": now}))
}

func (s *viaGORM) listPage(ctx context.Context, createdAt time.Time, id domain.ID) error {
	var page []record
	query := s.db.WithContext(ctx).Select(listedColumns)
	if !createdAt.IsZero() {
		query = query.Where("(created_at, id) > (?, ?)", createdAt, id.UUID())
	}
	return query.Order("created_at, id").Limit(pageSize + 1).Find(&page).Error
}

// viaBun is bun with its own driver, which puts the arguments into the statement's text.
type viaBun struct {
	db *bun.DB
}

func openBun(address string, workers int) (system, error) {
	pool := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(address)))
	pool.SetMaxOpenConns(workers)
	pool.SetMaxIdleConns(workers)
	return &viaBun{bun.NewDB(pool, pgdialect.New(), bun.WithDiscardUnknownColumns())}, nil
}

func (s *viaBun) close() { _ = s.db.Close() }

func (s *viaBun) findID(ctx context.Context, id domain.ID) error {
	var r record
	return s.db.NewSelect().Model(&r).Where("id = ?", id.UUID()).Scan(ctx)
}

func (s *viaBun) findEmail(ctx context.Context, email string) error {
	var r record
	return s.db.NewSelect().Model(&r).Where("email = ?", email).Scan(ctx)
}

func (s *viaBun) existsEmail(ctx context.Context, email string) error {
	_, err := s.db.NewSelect().Model((*record)(nil)).Where("email = ?", email).Exists(ctx)
	return err
}

func (s *viaBun) findToken(ctx context.Context, token domain.RefreshToken) error {
	return s.findID(ctx, token.UserID())
}

func (s *viaBun) create(ctx context.Context, u *domain.User) error {
	_, err := s.db.NewInsert().Model(newRecord(u)).Exec(ctx)
	return err
}

func (s *viaBun) issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error) {
	c, err := newIssue(id)
	if err != nil {
		return c.token, err
	}
	return c.token, affected(s.db.NewRaw(issueMarks, c.issueMarks()...).Exec(ctx))
}

func (s *viaBun) rotateToken(ctx context.Context, presented domain.RefreshToken) (domain.RefreshToken, error) {
	c, err := newRotation(presented)
	if err != nil {
		return c.token, err
	}
	return c.token, affected(s.db.NewRaw(rotateMarks, c.rotateMarks()...).Exec(ctx))
}

func (s *viaBun) login(ctx context.Context, id domain.ID) error {
	now := time.Now()
	var r record
	return s.db.NewUpdate().Model(&r).Set("last_login = ?", now).Set("failed_login_attempts = 0").Set("locked_until = NULL").
		Set("version = users.version + 1").Set("updated_at = ?", now).
		Where("id = ? AND hashed_password = ? AND is_active AND (locked_until IS NULL OR locked_until <= ?)", id.UUID(), passwordHash, now).
		Returning("*").Scan(ctx)
}

func (s *viaBun) lastLogin(ctx context.Context, id domain.ID) error {
	now := time.Now()
	var r record
	return s.db.NewUpdate().Model(&r).Set("last_login = ?", now).Set("updated_at = ?", now).
		Where("id = ?", id.UUID()).Returning("*").Scan(ctx)
}

func (s *viaBun) listPage(ctx context.Context, createdAt time.Time, id domain.ID) error {
	var page []record
	query := s.db.NewSelect().Model(&page).ColumnExpr(listedColumns)
	if !createdAt.IsZero() {
		query.Where("(created_at, id) > (?, ?)", createdAt, id.UUID())
	}
	return query.OrderExpr("created_at, id").Limit(pageSize + 1).Scan(ctx)
}
