package plan

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// Dev opens an empty database in which files are tried out. The returned function disposes of it.
type Dev func(context.Context) (*sql.DB, func() error, error)

// DevSQLite returns a Dev of the databases that open returns, which are to be empty: open one in memory, with a pool of one
// connection.
func DevSQLite(open func(context.Context) (*sql.DB, error)) Dev {
	return func(ctx context.Context) (*sql.DB, func() error, error) {
		db, err := open(ctx)
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
	}
}

// DevPostgres returns a Dev of temporary databases on the server at a postgres:// URL or, if the role must not create
// databases, of temporary schemas in the database that the URL names. What is there already is not touched. A process that is
// killed leaves its database or schema behind; the name begins with accounts_dev_.
func DevPostgres(server string, open func(ctx context.Context, url string) (*sql.DB, error)) Dev {
	return func(ctx context.Context) (*sql.DB, func() error, error) {
		address, err := url.Parse(server)
		if err != nil || !strings.HasPrefix(address.Scheme, "postgres") {
			// The parser's error would repeat the URL, which may hold a password.
			return nil, nil, script.Refuse(domain.ErrInvalid, "the development database is not given as a postgres:// URL")
		}
		admin, err := open(ctx, server)
		if err != nil {
			return nil, nil, err
		}
		name := "accounts_dev_" + strings.ToLower(rand.Text())
		kind, options, end := "DATABASE", " TEMPLATE template0 ENCODING 'UTF8'", " WITH (FORCE)"
		_, err = admin.ExecContext(ctx, "CREATE DATABASE "+name+options)
		if script.SQLState(err) == "42501" { // insufficient_privilege
			kind, end = "SCHEMA", " CASCADE"
			_, err = admin.ExecContext(ctx, "CREATE SCHEMA "+name)
		}
		if err != nil {
			return nil, nil, errors.Join(script.Failure("create a temporary database or schema", err), admin.Close())
		}
		drop := func() error {
			_, err := admin.ExecContext(context.WithoutCancel(ctx), "DROP "+kind+" "+name+end)
			return errors.Join(script.Failure("drop what was temporary", err), admin.Close())
		}

		query := address.Query()
		query.Del("search_path")
		if kind == "DATABASE" {
			query.Del("dbname") // would win over the path
			address.Path = "/" + name
		} else {
			query.Set("search_path", name)
		}
		address.RawQuery = query.Encode()
		db, err := open(ctx, address.String())
		if err != nil {
			return nil, nil, errors.Join(err, drop())
		}
		return db, func() error { return errors.Join(db.Close(), drop()) }, nil
	}
}
