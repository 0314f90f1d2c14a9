package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/sqlite/internal/modernc"
)

// NewConnector returns the driver's connector for a DSN, for a pool of the application:
//
//	connector, err := sqlite.NewConnector("file:app.db?_txlock=immediate&_pragma=foreign_keys(1)&_pragma=busy_timeout(10000)")
//	db := sql.OpenDB(connector)
//
// Its connections write a [time.Time] as the store does, in UTC and microseconds ([infra.SQLiteTime]), and a [json.RawMessage] as a text. The
// driver by itself writes the time's String, and JSON as a blob: these compare and sort otherwise, and the tables of the accounts refuse them. So
// ent's client, and other statements with such arguments, can write accounts only through these connections. A pool of [Open] has them.
//
// They keep the statements that they execute with arguments compiled, the 128 last used ones, which halves the time of a statement on one account.
//
// They read times in any form that the driver knows, and have the driver's own methods, for [database/sql.Conn.Raw]. NewConnector
// returns [domain.ErrInvalid] on the field "database" for a DSN that cannot be parsed; all else is found out by the first connection.
func NewConnector(dsn string) (driver.Connector, error) {
	base, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, invalid("expected a DSN of the driver: " + err.Error())
	}
	return connector{base}, nil
}

type connector struct{ driver.Connector }

// Connect implements [driver.Connector].
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	all, ok := base.(connection)
	if !ok {
		return nil, fmt.Errorf("%T lacks a method of the driver's connections", base)
	}
	return conn{all, modernc.NewStatementCache(all, statementCacheSize)}, nil
}

// statementCacheSize is how many compiled statements a connection keeps. The store has fewer of fixed text.
const statementCacheSize = 128

// connection is what the driver's connections can do.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator

	sqlite.AuthorizerRegisterer
	sqlite.DBStatus
	sqlite.FileControl
	sqlite.HookRegisterer
	ColumnInfo(query string) ([]sqlite.ColumnInfo, error)
	NewBackup(uri string) (*sqlite.Backup, error)
	NewRestore(uri string) (*sqlite.Backup, error)
	Serialize() ([]byte, error)
	Deserialize(data []byte) error
	IsReadOnly(schema string) (bool, error)
}

type conn struct {
	connection
	statements *modernc.StatementCache
}

// ExecContext implements [driver.ExecerContext].
func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.statements.ExecContext(ctx, query, args)
}

// QueryContext implements [driver.QueryerContext].
func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.statements.QueryContext(ctx, query, args)
}

// Close implements [driver.Conn].
func (c conn) Close() error {
	return errors.Join(c.statements.Close(), c.connection.Close())
}

// CheckNamedValue implements [driver.NamedValueChecker].
func (conn) CheckNamedValue(argument *driver.NamedValue) error {
	if text, ok := argument.Value.(json.RawMessage); ok && text != nil {
		argument.Value = string(text)
		return nil
	}
	value, err := driver.DefaultParameterConverter.ConvertValue(argument.Value)
	if err != nil {
		return err
	}
	if at, ok := value.(time.Time); ok {
		value = at.UTC().Format(infra.SQLiteTime)
	}
	argument.Value = value
	return nil
}
