package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	_ "github.com/lib/pq"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/migration"
	"github.com/softbee/accounts/infra/pgx"
	"github.com/softbee/accounts/infra/postgres"
)

// system is a way to the table. All of them return what they have read as Go values and drop it.
type system interface {
	findID(ctx context.Context, id domain.ID) error
	findEmail(ctx context.Context, email string) error
	existsEmail(ctx context.Context, email string) error
	hasToken(ctx context.Context, token domain.RefreshToken) error
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

// The store comes first: ratios are to it.
var systemNames = []string{"store", "store-pgx", "pq", "pgx", "ent", "gorm", "bun"}

func openSystem(ctx context.Context, name, address string, workers int, texts statements) (system, error) {
	switch name {
	case "store":
		store, err := postgres.OpenPool(ctx, address, postgres.Pool{MaxOpen: workers})
		return openStore(store, err)
	case "store-pgx":
		store, err := pgx.Open(ctx, address+"&pool_max_conns="+strconv.Itoa(workers))
		return openStore(store, err)
	case "pq":
		return openPQ(ctx, address, workers, texts)
	case "pgx":
		return openPGX(ctx, address, workers, texts)
	case "ent":
		return openEnt(address, workers, texts)
	case "gorm":
		return openGORM(address, workers, texts)
	case "bun":
		return openBun(address, workers, texts)
	}
	return nil, fmt.Errorf("no system %s", name)
}

// statements are the store's own for the list of tokens: every system sends them, so that what differs is the way.
type statements struct{ has, issue, rotate string }

// questionMarks returns them with ? for $1, $2 and so on.
func (s statements) questionMarks() statements {
	return statements{
		has: numbered.ReplaceAllString(s.has, "?"), issue: numbered.ReplaceAllString(s.issue, "?"),
		rotate: numbered.ReplaceAllString(s.rotate, "?"),
	}
}

var numbered = regexp.MustCompile(`\$\d+`)

// capture has the store send them.
func capture(ctx context.Context, address string, account domain.ID) (statements, error) {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return statements{}, err
	}
	defer func() { _ = db.Close() }()
	sent := &capturing{db: db}
	store, err := infra.New(ctx, infra.Database{Dialect: migration.Postgres, DB: db, Handle: sent})
	if err != nil {
		return statements{}, err
	}
	var texts statements
	grant, err := store.IssueToken(ctx, account, policy)
	if err != nil {
		return texts, err
	}
	texts.issue = sent.text
	if _, err := store.HasToken(ctx, grant.Token); err != nil {
		return texts, err
	}
	texts.has = sent.text
	if _, err := store.RotateToken(ctx, grant.Token, policy); err != nil {
		return texts, err
	}
	texts.rotate = sent.text
	return texts, nil
}

// capturing is a handle that keeps the last query.
type capturing struct {
	db   *sql.DB
	text string
}

func (c *capturing) Query(ctx context.Context, query string, args ...any) (infra.Rows, error) {
	c.text = query
	return c.db.QueryContext(ctx, query, args...)
}

func (c *capturing) Exec(context.Context, string, ...any) (int64, error) {
	return 0, errors.New("only queries are captured")
}

// The arguments of the statements, in the store's order.

func hasArgs(token domain.RefreshToken) []any {
	return []any{token.UserID().UUID(), domain.EntryTime(time.Now()), token.SessionID().String() + "." + token.Digest()}
}

func issueArgs(id domain.ID) (domain.RefreshToken, []any, error) {
	now := time.Now()
	issue, err := domain.NewTokenIssue(id, now, policy)
	if err != nil {
		return domain.RefreshToken{}, nil, err
	}
	return issue.Token(), []any{
		issue.Now(), issue.Cap() - 1, issue.EntryHead(), issue.Now(), issue.Now(), domain.StoredTime(now), id.UUID(),
	}, nil
}

func rotateArgs(token domain.RefreshToken) (domain.RefreshToken, []any, error) {
	now := time.Now()
	r, err := domain.NewTokenRotation(token, now, policy)
	if err != nil {
		return domain.RefreshToken{}, nil, err
	}
	session := token.SessionID().String()
	return r.Token(), []any{
		session, r.PresentedDigest(), r.RetiredEntry(), r.EntryHead(), r.Now(), domain.StoredTime(now),
		token.UserID().UUID(), r.Now(), session,
	}, nil
}
