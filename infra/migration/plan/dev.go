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

// DevPostgres returns a Dev of temporary databases on the server at a postgres:// URL, whose role must be allowed to create
// databases. The database in the URL is only connected to. A process that is killed leaves its database behind; its
// name begins with accounts_dev_.
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
		if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
			return nil, nil, errors.Join(script.Failure("create a temporary database", err), admin.Close())
		}
		drop := func() error {
			_, err := admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
			return errors.Join(script.Failure("drop the temporary database", err), admin.Close())
		}

		query := address.Query()
		query.Del("dbname") // would win over the path
		query.Del("search_path")
		address.Path, address.RawQuery = "/"+name, query.Encode()
		db, err := open(ctx, address.String())
		if err != nil {
			return nil, nil, errors.Join(err, drop())
		}
		return db, func() error { return errors.Join(db.Close(), drop()) }, nil
	}
}
