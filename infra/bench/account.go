package main

import (
	"crypto/md5"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/softbee/accounts/domain"
)

const passwordHash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// The i-th account that fill stores, from 1.
func filledID(i int) domain.ID { return domain.IDFromUUID(md5.Sum([]byte(strconv.Itoa(i)))) }

func filledEmail(i int) string { return "user" + strconv.Itoa(i) + "@example.org" }

var filledFrom = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func filledAt(i int) time.Time { return filledFrom.Add(time.Duration(i) * time.Second) }

func newUser() (*domain.User, error) {
	name := "u" + strings.ReplaceAll(domain.NewID().String(), "-", "")
	email, err := domain.ParseEmail(name + "@example.org")
	if err != nil {
		return nil, err
	}
	username, err := domain.ParseUsername(name)
	if err != nil {
		return nil, err
	}
	hash, err := domain.ParsePasswordHash(passwordHash)
	if err != nil {
		return nil, fmt.Errorf("password hash: %w", err)
	}
	return domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, time.Now())
}

// record is a row as the other ways read it.
type record struct {
	bun.BaseModel `gorm:"-" bun:"table:users,alias:users"`

	ID                      uuid.UUID `gorm:"primaryKey" bun:"type:uuid,pk"`
	Email                   string
	Username                string
	HashedPassword          string
	FirstName               *string
	LastName                *string
	Phone                   *string
	IsActive                bool
	IsVerified              bool
	LastLogin               *time.Time
	RefreshTokens           []string `gorm:"serializer:json" bun:"type:jsonb"`
	FailedLoginAttempts     int
	LockedUntil             *time.Time
	ResetToken              *string
	ResetTokenExpiry        *time.Time
	VerificationToken       *string
	VerificationTokenExpiry *time.Time
	Version                 int64
	CreatedAt               time.Time
	UpdatedAt               time.Time `gorm:"autoUpdateTime:false"`
}

func (record) TableName() string { return "users" }

func newRecord(u *domain.User) *record {
	return &record{
		ID: u.ID().UUID(), Email: u.Email().String(), Username: u.Username().String(), HashedPassword: passwordHash,
		IsActive: true, RefreshTokens: []string{}, Version: 1, CreatedAt: u.CreatedAt(), UpdatedAt: u.UpdatedAt(),
	}
}

// pointers to the fields, in the order of columns; the list as JSON.
func (r *record) pointers(list any) []any {
	return []any{
		&r.ID, &r.Email, &r.Username, &r.HashedPassword, &r.FirstName, &r.LastName, &r.Phone, &r.IsActive, &r.IsVerified,
		&r.LastLogin, list, &r.FailedLoginAttempts, &r.LockedUntil, &r.ResetToken, &r.ResetTokenExpiry, &r.VerificationToken,
		&r.VerificationTokenExpiry, &r.Version, &r.CreatedAt, &r.UpdatedAt,
	}
}

const columns = "id, email, username, hashed_password, first_name, last_name, phone, is_active, is_verified, last_login, " +
	"refresh_tokens, failed_login_attempts, locked_until, reset_token, reset_token_expiry, verification_token, " +
	"verification_token_expiry, version, created_at, updated_at"
