package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/softbee/accounts/domain/entry"
	"github.com/softbee/accounts/infra/postgres"
)

// fill migrates a database and stores accounts with two sessions each, 30,000 to 50,000 in a second. The indexes are there
// from the start, so that they are as an application's; to build them afterwards takes hardly less time.
func fill(ctx context.Context, address string, rows int, v ids) error {
	store, err := postgres.Open(ctx, address)
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck,contextcheck // all is done; it waits for nothing
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	const session = `left(md5(i || '%[1]d') || md5(i || '.'), 22) || '.' || $2 || '.' || md5(i || '%[1]d!') || left(md5(i || '%[1]d?'), 11)
		|| '.' || $3 || '.' || $2 || '.' || $3 || '..Firefox on Linux'`
	at := func(d time.Duration) string { return entry.Time(time.Now().Add(d)) }
	const batch = 500_000
	for first := 1; first <= rows; first += batch {
		if _, err := store.DB().ExecContext(ctx, `INSERT INTO users (id, email, username, hashed_password, refresh_tokens, created_at, updated_at)
			SELECT `+v.expression()+`, 'user' || i || '@example.org', 'user' || i, $4,
				jsonb_build_array(`+fmt.Sprintf(session, 1)+`, `+fmt.Sprintf(session, 2)+`), made, made
			FROM generate_series($1::int, $6::int) AS i, LATERAL (SELECT $5::timestamptz + i * interval '1 s' AS made) AS m`,
			first, at(30*24*time.Hour), at(-time.Hour), passwordHash, filledFrom, min(first+batch-1, rows)); err != nil {
			return err
		}
	}
	if _, err := store.DB().ExecContext(ctx, "VACUUM ANALYZE users"); err != nil {
		return err
	}
	_, _ = store.DB().ExecContext(ctx, "CHECKPOINT") // that none falls into the measurements; not every role may
	return nil
}

// size is a line of output about the table, with its out-of-line values, or about one of its indexes.
type size struct {
	Relation string `json:"relation"`
	Rows     int    `json:"rows"`
	IDs      ids    `json:"ids"`
	Accounts int    `json:"accounts"` // more than Rows after the measurements
	Bytes    int64  `json:"bytes"`
}

func sizes(ctx context.Context, db *sql.DB, rows int, v ids) ([]size, error) {
	found, err := db.QueryContext(ctx, `SELECT relation::regclass::text, (SELECT count(*) FROM users), pg_table_size(relation)
		FROM (SELECT 'users'::regclass::oid UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid = 'users'::regclass) AS r (relation)
		ORDER BY relation <> 'users'::regclass, 1`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var all []size
	for found.Next() {
		s := size{Rows: rows, IDs: v}
		if err := found.Scan(&s.Relation, &s.Accounts, &s.Bytes); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, found.Err()
}
