package main

import (
	"crypto/md5" //nolint:gosec // PostgreSQL has it too, and nothing here is secret
	"encoding/binary"
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

func filledEmail(i int) string { return "user" + strconv.Itoa(i) + "@example.org" }

var filledFrom = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func filledAt(i int) time.Time { return filledFrom.Add(time.Duration(i) * time.Second) }

// ids is the version of the UUIDs that accounts have: v4 is random, v7 begins with the time (RFC 9562 5.4 and 5.7).
type ids string

const (
	v4 ids = "v4"
	v7 ids = "v7"
)

// filled returns the ID of the i-th account that fill stores. What is random in it is the MD5 of i, so that both sides can
// compute it; the time in v7 is when the account was made.
func (v ids) filled(i int) domain.ID {
	id := uuid.UUID(md5.Sum([]byte(strconv.Itoa(i)))) //nolint:gosec // likewise
	if v == v7 {
		ms := uint64(filledAt(i).UnixMilli())
		binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
		binary.BigEndian.PutUint32(id[2:], uint32(ms))
		id[6] = 7<<4 | id[6]&0xf
	}
	return domain.IDFromUUID(id)
}

// expression is filled in SQL, from i and made.
func (v ids) expression() string {
	if v == v7 {
		return `overlay(md5(i::text) PLACING lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7' FROM 1 FOR 13)::uuid`
	}
	return `md5(i::text)::uuid`
}

// newUser returns an account that create can store.
func (v ids) newUser() (*domain.User, error) {
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
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, time.Now())
	if err != nil || v != v7 {
		return u, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	state := u.State()
	state.ID = domain.IDFromUUID(id)
	return domain.RestoreUser(state)
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
	PhoneCode               *string
	PhoneCodeExpiry         *time.Time
	PhoneCodeAttempts       int
	PhoneVerifiedAt         *time.Time
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
		&r.VerificationTokenExpiry, &r.PhoneCode, &r.PhoneCodeExpiry, &r.PhoneCodeAttempts, &r.PhoneVerifiedAt,
		&r.Version, &r.CreatedAt, &r.UpdatedAt,
	}
}

// listed are the pointers in the order of listedColumns.
func (r *record) listed(list any) []any {
	return []any{
		&r.ID, &r.Email, &r.Username, &r.FirstName, &r.LastName, &r.Phone, &r.IsActive, &r.IsVerified, &r.LastLogin, list,
		&r.FailedLoginAttempts, &r.LockedUntil, &r.ResetTokenExpiry, &r.VerificationTokenExpiry,
		&r.PhoneCodeExpiry, &r.PhoneCodeAttempts, &r.PhoneVerifiedAt, &r.Version, &r.CreatedAt, &r.UpdatedAt,
	}
}

const columns = "id, email, username, hashed_password, first_name, last_name, phone, is_active, is_verified, last_login, " +
	"refresh_tokens, failed_login_attempts, locked_until, reset_token, reset_token_expiry, verification_token, " +
	"verification_token_expiry, phone_code, phone_code_expiry, phone_code_attempts, phone_verified_at, version, created_at, updated_at"

// listedColumns are those that the store reads for a list: without the hash and the digests of one-time tokens.
const listedColumns = "id, email, username, first_name, last_name, phone, is_active, is_verified, last_login, refresh_tokens, " +
	"failed_login_attempts, locked_until, reset_token_expiry, verification_token_expiry, phone_code_expiry, phone_code_attempts, " +
	"phone_verified_at, version, created_at, updated_at"
