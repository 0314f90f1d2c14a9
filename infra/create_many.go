package infra

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"strings"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// CreateMany stores accounts as if Create were called for one after the other, at a fraction of the cost: some thousand at a
// time are best. For each it returns what Create would have returned: nil; [domain.ErrConflict] on the field "id" where the
// ID exists, whatever else is wrong; [domain.ErrTaken]; or [domain.ErrInvalid] for a value that the database refuses. Accounts
// among them that collide with each other are told from the first.
//
// The error beside them is for what concerns all, such as [domain.ErrUnavailable]; then any number of them may be stored, each
// whole or not at all, and a second call with the same accounts goes on. Within [Store.InTx] a refused value is such an error
// too.
func (s *Store) CreateMany(ctx context.Context, users []*domain.User) ([]error, error) {
	refusals := make([]error, len(users))
	return refusals, s.createMany(ctx, users, refusals)
}

func (s *Store) createMany(ctx context.Context, users []*domain.User, refusals []error) error {
	if len(users) == 0 {
		return nil
	}
	if _, inside := s.driver.(txDriver); inside {
		return s.createStaged(ctx, users, refusals)
	}
	if s.staged.Add(-1) < 0 {
		s.staged.Store(0)
		err := s.InTx(ctx, func(tx *Store) error { return tx.createAtOnce(ctx, users) })
		if !errors.Is(err, domain.ErrTaken) && !errors.Is(err, domain.ErrConflict) && !errors.Is(err, domain.ErrInvalid) {
			return err
		}
		s.staged.Store(stagedAfterCollision)
	}
	err := s.InTx(ctx, func(tx *Store) error { return tx.createStaged(ctx, users, refusals) })
	if !errors.Is(err, domain.ErrInvalid) {
		return err
	}
	// A check fails the statement as a whole. Halves find the account that it is about.
	clear(refusals)
	if len(users) == 1 {
		var refused *domain.Error
		errors.As(err, &refused)
		refusals[0] = refused
		return nil
	}
	half := len(users) / 2
	if err := s.createMany(ctx, users[:half], refusals[:half]); err != nil {
		return err
	}
	return s.createMany(ctx, users[half:], refusals[half:])
}

// stagedAfterCollision is how many calls after a collision expect another one. Without a collision the staging table is a
// detour that takes half of the time; with one, what went straight into users was in vain, and PostgreSQL has dead rows to
// clear away.
const stagedAfterCollision = 16

// createAtOnce stores accounts within a transaction, or fails at the first that collides.
func (s *Store) createAtOnce(ctx context.Context, users []*domain.User) error {
	all := make([]int, len(users))
	for i := range all {
		all[i] = i
	}
	return s.copyUsers(ctx, user.Table, user.Columns, users, all)
}

// copyUsers writes the accounts at some places into a table that has the columns, which are those of users and, in the
// staging table, their place.
func (s *Store) copyUsers(ctx context.Context, table string, columns []string, users []*domain.User, places []int) error {
	tx := s.driver.(txDriver) // only ever called within one
	if err := s.database.Copy(ctx, tx.ExecQuerier, table, columns, rows(columns, users, places)); err != nil {
		return s.failure(ctx, "create users", err)
	}
	return nil
}

// The statements of createStaged. The staging table has the columns of users, of the same types but without their rules, and
// the place of each row. It is this connection's own, and gone when the transaction ends, so that a pooler may give the next
// one to somebody else.
var (
	createStaging = "CREATE TEMPORARY TABLE " + staging + " AS SELECT 0 AS " + place + ", * FROM " + user.Table + " WHERE false"
	insertStaged  = "INSERT INTO " + user.Table + " (" + userColumns + ") SELECT " + userColumns + " FROM " + staging +
		" WHERE true ORDER BY " + place + " ON CONFLICT DO NOTHING RETURNING " + user.FieldID // SQLite's grammar needs the WHERE
	clearStaging  = "DELETE FROM " + staging
	dropStaging   = "DROP TABLE " + staging
	stagedHolders = "SELECT " + user.FieldID + ", " + heldColumn() + " FROM " + staging + " AS staged"
)

// storedIDs tells which IDs of a list are stored.
var storedIDs = map[string]string{
	dialect.Postgres: "SELECT " + user.FieldID + " FROM " + user.Table + " WHERE " + user.FieldID + " = ANY ($1::uuid[])",
	dialect.SQLite:   "SELECT " + user.FieldID + " FROM " + user.Table + " WHERE " + user.FieldID + " IN (SELECT value FROM json_each(?))",
}

const (
	staging = "accounts_staging"
	place   = "staging_place"
)

var stagingColumns = append([]string{place}, user.Columns...)

var userColumns = strings.Join(user.Columns, ", ")

// uniqueColumns are the columns in which an account can collide with others, in the order in which they are reported.
var uniqueColumns = []string{
	user.FieldID, user.FieldEmail, user.FieldUsername, user.FieldPhone, user.FieldResetToken, user.FieldVerificationToken,
}

// heldColumn returns an expression for the place among uniqueColumns of the first whose staged value an account holds. As
// subqueries for one value they are looked up in the index, whatever the planner believes of the table's size.
func heldColumn() string {
	var list strings.Builder
	for i, column := range uniqueColumns {
		list.WriteString(" WHEN (SELECT 1 FROM " + user.Table + " AS u WHERE u." + column + " = staged." + column + ") = 1 THEN " + strconv.Itoa(i))
	}
	return "CASE" + list.String() + " END"
}

// createStaged stores accounts within a transaction by way of a staging table. IDs are what tells its rows apart, so that
// accounts with one ID take turns.
func (s *Store) createStaged(ctx context.Context, users []*domain.User, refusals []error) error {
	const op = "create users"
	known, err := s.stored(ctx, users)
	if err != nil {
		return err
	}
	var pending []int
	for i, u := range users {
		if known[u.ID()] {
			refusals[i] = idExists()
		} else {
			pending = append(pending, i)
		}
	}
	if len(pending) == 0 { // as when an import is repeated
		return nil
	}
	if err := s.execute(ctx, op, createStaging); err != nil {
		return err
	}
	for first := true; len(pending) > 0; first = false {
		if !first {
			if err := s.execute(ctx, op, clearStaging); err != nil {
				return err
			}
		}
		var turn, later []int
		seen := make(map[domain.ID]bool, len(pending))
		for _, i := range pending {
			switch id := users[i].ID(); {
			case known[id]:
				refusals[i] = idExists()
			case seen[id]:
				later = append(later, i)
			default:
				seen[id] = true
				turn = append(turn, i)
			}
		}
		if err := s.createTurn(ctx, users, turn, known, refusals); err != nil {
			return err
		}
		pending = later
	}
	return s.execute(ctx, op, dropStaging)
}

// stored returns the IDs of users that are stored already.
func (s *Store) stored(ctx context.Context, users []*domain.User) (map[domain.ID]bool, error) {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID().String()
	}
	list := "{" + strings.Join(ids, ",") + "}"
	if s.driver.Dialect() == dialect.SQLite {
		list = `["` + strings.Join(ids, `","`) + `"]`
	}
	stored := make(map[domain.ID]bool)
	err := s.scan(ctx, "create users", storedIDs[s.driver.Dialect()], []any{list}, func(rows *sql.Rows) error {
		var id uuid.UUID
		err := rows.Scan(&id)
		stored[domain.IDFromUUID(id)] = true
		return err
	})
	return stored, err
}

// createTurn stores the accounts at the places of turn, whose IDs differ.
func (s *Store) createTurn(ctx context.Context, users []*domain.User, turn []int, known map[domain.ID]bool, refusals []error) error {
	const op = "create users"
	if len(turn) == 0 {
		return nil
	}
	if err := s.copyUsers(ctx, staging, stagingColumns, users, turn); err != nil {
		return err
	}
	stored := 0
	if err := s.scan(ctx, op, insertStaged, []any{}, func(rows *sql.Rows) error {
		var id uuid.UUID
		stored++
		err := rows.Scan(&id)
		known[domain.IDFromUUID(id)] = true
		return err
	}); err != nil || stored == len(turn) {
		return err
	}

	held := make(map[domain.ID]error, len(turn))
	if err := s.scan(ctx, op, stagedHolders, []any{}, func(rows *sql.Rows) error {
		var id uuid.UUID
		var holder *int
		err := rows.Scan(&id, &holder)
		if holder != nil {
			held[domain.IDFromUUID(id)] = collision(uniqueColumns[*holder])
		}
		return err
	}); err != nil {
		return err
	}
	for _, i := range turn {
		id := users[i].ID()
		switch err, ok := held[id]; {
		case known[id]: // stored just now
		case !ok: // whoever was in the way is gone again
			refusals[i] = conflict()
		default:
			refusals[i] = err
		}
	}
	for id, err := range held {
		if errors.Is(err, domain.ErrConflict) {
			known[id] = true
		}
	}
	return nil
}

// rows yields the accounts at some places, as user.Columns or, where place is among the columns, with that before them.
func rows(columns []string, users []*domain.User, places []int) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for _, i := range places {
			row, err := rowValues(users[i])
			if columns[0] == place {
				row = append([]any{i}, row...)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) execute(ctx context.Context, op, statement string) error {
	if err := s.driver.Exec(ctx, statement, []any{}, nil); err != nil {
		return s.failure(ctx, op, err)
	}
	return nil
}
