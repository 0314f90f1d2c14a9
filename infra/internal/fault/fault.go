// Package fault classifies the errors of database drivers, once for the store, the migrations and the adoption. It names no
// driver: PostgreSQL's errors are recognised by their SQLSTATE, SQLite's by their result code, whatever driver returns them.
package fault

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/softbee/accounts/domain"
)

// Class says what an error of a database means to its caller.
type Class int

// The classes.
const (
	Other       Class = iota // a defect or a setting: repeating the statement cannot help
	Unique                   // a unique constraint or index
	Referenced               // a foreign key
	Check                    // a check, or a value that its column cannot hold
	Refused                  // a trigger of the database raised an error
	Schema                   // a table, a column or a schema is not there
	Conflict                 // a serialization failure or a deadlock: the statement had no effect
	Unavailable              // unreachable, shutting down, read-only, full, or busy for too long
)

// Fault is a driver's error without its text, which may quote values.
type Fault struct {
	Class      Class
	Code       string // SQLSTATE, or SQLite's extended result code; "" where there is none
	Where      string // the code, such as "SQLSTATE 40P01", and SQLite's in words
	Table      string // where the database names it
	Constraint string // of Unique, Referenced and Check; SQLite names a column "table.column", a check by its name
	Column     string // of a value that is missing, where the database names it
	Aborted    bool   // a transaction failed earlier, and takes no more statements
	Unknown    bool   // the statement may have been executed
}

// Of classifies an error that a driver or database/sql returned.
func Of(err error) Fault {
	f := classify(err)
	var unsent interface{ SafeToRetry() bool } // as pgx has it
	if errors.As(err, &unsent) && unsent.SafeToRetry() {
		f.Unknown = false
	}
	return f
}

func classify(err error) Fault {
	var state interface{ SQLState() string }
	if errors.As(err, &state) && len(state.SQLState()) == 5 {
		return ofPostgres(state, state.SQLState())
	}
	var code interface{ Code() int }
	if errors.As(err, &code) {
		return ofSQLite(code.Code(), err.Error())
	}
	if isConnecting(err) {
		return Fault{Class: Unavailable, Where: "connection"}
	}
	if isConnection(err) {
		var operation *net.OpError
		dialled := errors.As(err, &operation) && operation.Op == "dial"
		return Fault{Class: Unavailable, Where: "connection", Unknown: !dialled && !isClosedPool(err) && !errors.Is(err, sql.ErrConnDone)}
	}
	return Fault{Aborted: isAborted(err), Where: fmt.Sprintf("%T", err)}
}

// isConnection tells whether the connection failed and not the statement.
func isConnection(err error) bool {
	var network net.Error
	var operation *net.OpError
	return errors.As(err, &network) || errors.As(err, &operation) ||
		slices.ContainsFunc([]error{
			driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, os.ErrClosed, net.ErrClosed,
			context.DeadlineExceeded, context.Canceled,
		}, func(target error) bool { return errors.Is(err, target) }) || isClosedPool(err) || isClosedConnection(err)
}

// isClosedConnection tells whether pgx had closed the connection in the middle of a call, which this package knows by its words, for it names no driver.
func isClosedConnection(err error) bool {
	return err != nil && strings.Contains(err.Error(), "conn closed")
}

// isConnecting tells whether pgx could not connect, which it reports in words alone for what is wrong with the server: in hot standby, not able
// to start a process, garbage. A server without TLS is a setting.
func isConnecting(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if fmt.Sprintf("%T", err) == "*pgconn.ConnectError" {
			return !strings.Contains(err.Error(), "refused TLS")
		}
		if several, ok := err.(interface{ Unwrap() []error }); ok { // one for each host
			return slices.ContainsFunc(several.Unwrap(), isConnecting)
		}
	}
	return false
}

// isClosedPool tells whether the pool was closed, for which neither database/sql nor pgx has a value to compare with.
func isClosedPool(err error) bool {
	return err != nil && (err.Error() == "sql: database is closed" || strings.HasSuffix(err.Error(), "closed pool"))
}

// isAborted tells whether a commit failed because a statement before it had failed, which lib/pq and pgx report in words.
func isAborted(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "in a failed transaction") ||
		strings.Contains(err.Error(), "commit unexpectedly resulted in rollback"))
}

// ofPostgres classifies by SQLSTATE (PostgreSQL's manual, appendix A).
func ofPostgres(err any, code string) Fault {
	f := Fault{Code: code, Where: "SQLSTATE " + code}
	f.Table, f.Constraint, f.Column = detail(err)
	switch code {
	case "23505", "23P01":
		f.Class = Unique
	case "23503", "23001":
		f.Class = Referenced
	case "23514", "23502":
		f.Class = Check
	case "42P01", "42703", "3F000":
		f.Class = Schema
	case "40001", "40P01":
		f.Class = Conflict
	case "25P02":
		f.Aborted = true
	case "25006": // read-only
		f.Class = Unavailable
	case "57P01", "57P02", "57P05", // the session was ended, perhaps after its commit and before the reply
		"40003": // completion unknown
		f.Class, f.Unknown = Unavailable, true
	}
	if f.Class != Other || f.Aborted {
		return f
	}
	switch code[:2] {
	case "22": // data exceptions: too long, not of the encoding, out of range
		f.Class = Check
	case "P0", "09": // raised by a function or a trigger
		f.Class = Refused
	case "08", // connection exceptions
		"28", "3D", // refused: authorisation, no such database
		"40", // rolled back
		"53", // insufficient resources: disk, memory, connections
		"55", // objects not in the needed state, locks not available
		"57", // operator intervention: shutdown, and cancellation that was not ours
		"58": // system errors
		f.Class = Unavailable
		f.Unknown = code[:2] == "08"
	}
	return f
}

// detail reads the names in PostgreSQL's error, for which lib/pq and pgx have fields of different names.
func detail(err any) (table, constraint, column string) {
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return "", "", ""
	}
	text := func(names ...string) string {
		for _, name := range names {
			if f := v.Elem().FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
				return f.String()
			}
		}
		return ""
	}
	return text("TableName", "Table"), text("ConstraintName", "Constraint"), text("ColumnName", "Column")
}

// SQLite's result codes (https://sqlite.org/rescode.html).
const (
	sqliteError      = 1
	sqlitePerm       = 3
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteNoMem      = 7
	sqliteReadOnly   = 8
	sqliteIOErr      = 10
	sqliteCorrupt    = 11
	sqliteFull       = 13
	sqliteCantOpen   = 14
	sqliteProtocol   = 15
	sqliteTooBig     = 18
	sqliteConstraint = 19
	sqliteMismatch   = 20
	sqliteNotADB     = 26

	sqliteBusySnapshot         = 517
	sqliteIsDirectory          = 526
	sqliteMoved                = 1032
	sqliteReadOnlyDir          = 1544
	sqliteConstraintCheck      = 275
	sqliteConstraintForeignKey = 787
	sqliteConstraintNotNull    = 1299
	sqliteConstraintPrimaryKey = 1555
	sqliteConstraintTrigger    = 1811
	sqliteConstraintUnique     = 2067
)

// ofSQLite classifies by the extended result code. Which constraint failed is in the text alone; that names columns and checks, and
// never values.
func ofSQLite(code int, text string) Fault {
	f := Fault{Code: strconv.Itoa(code), Where: inWords(code)}
	switch code {
	case sqliteConstraintUnique, sqliteConstraintPrimaryKey:
		f.Class, f.Constraint = Unique, failed(text, "UNIQUE")
		f.Table, f.Column, _ = strings.Cut(f.Constraint, ".") // of an index on an expression: its name
	case sqliteConstraintCheck:
		f.Class, f.Constraint = Check, failed(text, "CHECK")
	case sqliteConstraintNotNull:
		f.Class = Check
		f.Table, f.Column, _ = strings.Cut(failed(text, "NOT NULL"), ".")
	case sqliteConstraintForeignKey:
		f.Class = Referenced
	case sqliteConstraintTrigger:
		f.Class = Refused
	case sqliteBusySnapshot:
		f.Class = Conflict
	}
	if f.Class != Other {
		return f
	}
	switch code & 0xff {
	case sqliteIOErr:
		f.Class, f.Unknown = Unavailable, true // at a commit, perhaps
	case sqliteBusy, sqliteLocked, sqliteReadOnly, sqliteCorrupt, sqliteFull, sqliteCantOpen, sqliteNotADB,
		sqlitePerm, sqliteNoMem, sqliteProtocol:
		f.Class = Unavailable
	case sqliteTooBig, sqliteMismatch, sqliteConstraint:
		f.Class = Check
	case sqliteError:
		if strings.Contains(text, "no such table") || strings.Contains(text, "no such column") {
			f.Class = Schema
		}
	}
	return f
}

// sqliteWords are the result codes with which SQLite says that a file cannot be used.
var sqliteWords = map[int]string{
	sqlitePerm:        "access is not permitted",
	sqliteBusy:        "another connection keeps it locked",
	sqliteLocked:      "a table is locked",
	sqliteNoMem:       "there is no memory left",
	sqliteReadOnly:    "it cannot be written",
	sqliteIOErr:       "reading or writing failed",
	sqliteCorrupt:     "the file is damaged",
	sqliteFull:        "the disk is full",
	sqliteCantOpen:    "the file cannot be opened",
	sqliteProtocol:    "the file cannot be locked",
	sqliteTooBig:      "a value is too long",
	sqliteMismatch:    "a value is not of the column's type",
	sqliteNotADB:      "the file is no database",
	sqliteIsDirectory: "it is a directory",
	sqliteReadOnlyDir: "its directory cannot be written",
	sqliteMoved:       "the file was moved or deleted",
}

// inWords returns a result code with its words, those of the extended code where there are such.
func inWords(code int) string {
	words, ok := sqliteWords[code]
	if !ok {
		words, ok = sqliteWords[code&0xff]
	}
	if !ok {
		return "SQLite " + strconv.Itoa(code)
	}
	return words + ", SQLite " + strconv.Itoa(code)
}

// failed returns what follows "UNIQUE constraint failed: " up to the end of the word.
func failed(text, constraint string) string {
	_, rest, _ := strings.Cut(text, constraint+" constraint failed: ")
	rest = strings.TrimPrefix(rest, "index ") // on an expression
	if end := strings.IndexAny(rest, " ,"); end >= 0 {
		rest = rest[:end]
	}
	return strings.Trim(rest, "'")
}

// Kind is the kind of error for a fault that needs no closer look.
func (f Fault) Kind() domain.Kind {
	switch f.Class {
	case Unique:
		return domain.ErrTaken
	case Referenced:
		return domain.ErrReferenced
	case Check, Refused:
		return domain.ErrInvalid
	case Schema:
		return domain.ErrPendingMigrations
	case Conflict, Unavailable:
		return domain.ErrUnavailable
	case Other:
	}
	return domain.ErrInternal
}

// ContextError returns [context.Canceled] or [context.DeadlineExceeded] if err wraps one of them, else nil.
func ContextError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	return nil
}

// Cause describes an error for an operator, without values: the code, or what the network did.
func Cause(err error) string {
	var operation *net.OpError
	if errors.As(err, &operation) {
		return operation.Op + ": " + innermost(operation.Err).Error()
	}
	f := Of(err)
	if f.Constraint != "" {
		return f.Where + ", constraint " + f.Constraint
	}
	return f.Where
}

// innermost returns the end of a chain of errors, the system's own.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
