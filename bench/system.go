package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	_ "github.com/lib/pq"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
)

// system is a way to the table. All of them return what they have read as Go values and drop it.
type system interface {
	findID(ctx context.Context, id domain.ID) error
	findEmail(ctx context.Context, email string) error
	existsEmail(ctx context.Context, email string) error
	findToken(ctx context.Context, token domain.RefreshToken) error
	create(ctx context.Context, u *domain.User) error
	issueToken(ctx context.Context, id domain.ID) (domain.RefreshToken, error)
	rotateToken(ctx context.Context, token domain.RefreshToken) (domain.RefreshToken, error)
	login(ctx context.Context, id domain.ID) error
	lastLogin(ctx context.Context, id domain.ID) error
	// listPage reads 50 accounts and one more after the one with this time and ID; the first ones, if the time is zero.
	listPage(ctx context.Context, createdAt time.Time, id domain.ID) error
	close()
}

const pageSize = domain.DefaultPageSize

// The store comes first: ratios are to it. floor is what the smallest statements cost.
var systemNames = []string{"store", "store-pgx", "floor", "pq", "pgx", "ent", "gorm", "bun"}

func openSystem(ctx context.Context, name, address string, workers int) (system, error) {
	switch name {
	case "store":
		store, err := postgres.OpenWithPool(ctx, address, postgres.Pool{MaxOpen: workers})
		return openStore(store, err)
	case "store-pgx":
		store, err := pgx.Open(ctx, address+"&pool_max_conns="+strconv.Itoa(workers))
		return openStore(store, err)
	case "floor":
		return openFloor(ctx, address, workers)
	case "pq":
		return openPQ(ctx, address, workers)
	case "pgx":
		return openPGX(ctx, address, workers)
	case "ent":
		return openEnt(address, workers)
	case "gorm":
		return openGORM(address, workers)
	case "bun":
		return openBun(address, workers)
	}
	return nil, fmt.Errorf("no system %s", name)
}

// The smallest statements that change the list of tokens; all systems but the store send them. They return nothing.
const (
	issueText  = "UPDATE users SET refresh_tokens = refresh_tokens || $2::jsonb, updated_at = $3 WHERE id = $1"
	rotateText = "UPDATE users SET refresh_tokens = (refresh_tokens - $2::text) || $3::jsonb, updated_at = $4 WHERE id = $1 AND refresh_tokens ? $2"

	// The same for what takes question marks for arguments. jsonb_exists is the function of the operator ?.
	issueMarks  = "UPDATE users SET refresh_tokens = refresh_tokens || CAST(? AS jsonb), updated_at = ? WHERE id = ?"
	rotateMarks = "UPDATE users SET refresh_tokens = (refresh_tokens - CAST(? AS text)) || CAST(? AS jsonb), updated_at = ? WHERE id = ? AND jsonb_exists(refresh_tokens, ?)"
)

// change is a list of tokens with the entry of another one.
type change struct {
	token     domain.RefreshToken
	id        uuid.UUID
	live      string // the entry that goes, of a rotation
	next      []byte // JSON: the entry that comes
	updatedAt time.Time
}

func (c change) issueArgs() []any { return []any{c.id, string(c.next), c.updatedAt} }

func (c change) rotateArgs() []any { return []any{c.id, c.live, string(c.next), c.updatedAt} }

func (c change) issueMarks() []any { return []any{string(c.next), c.updatedAt, c.id} }

func (c change) rotateMarks() []any {
	return []any{c.live, string(c.next), c.updatedAt, c.id, c.live}
}

func newIssue(id domain.ID) (change, error) {
	now := time.Now()
	list, token, err := domain.SessionList{}.Issue(id, now, policy)
	if err != nil {
		return change{}, err
	}
	next, err := json.Marshal([]string(list))
	return change{token: token, id: id.UUID(), next: next, updatedAt: domain.StoredTime(now)}, err
}

func newRotation(token domain.RefreshToken) (change, error) {
	now := time.Now()
	live := token.Entry()
	list, token, err := domain.SessionList{live}.Rotate(token, now, policy)
	if err != nil {
		return change{}, err
	}
	if list[0] == live {
		return change{}, errors.New("too many rotations")
	}
	next, err := json.Marshal([]string(list))
	return change{token: token, id: token.UserID().UUID(), live: live, next: next, updatedAt: domain.StoredTime(now)}, err
}

// one demands that a statement changed a row.
func one(n int64, err error) error {
	if err == nil && n != 1 {
		return fmt.Errorf("%d rows changed", n)
	}
	return err
}

func affected(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	return one(result.RowsAffected())
}
