package infra

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// CreateMany stores accounts as if Create were called for one after the other, at a fraction of the cost: some thousand at a
// time are best. For each it returns what Create would have returned: nil; [domain.ErrConflict] on the field "id" where the
// ID exists, whatever else is wrong; [domain.ErrTaken]; or [domain.ErrInvalid] for a value that the database refuses. Of accounts
// among them that collide with each other, the first one is stored.
//
// The error beside them is for what concerns all, such as [domain.ErrUnavailable]; then any number of them may be stored, each
// whole or not at all, and a second call with the same accounts goes on. Within [Store.InTx] a refused value is such an error
// too.
func (r *repository) CreateMany(ctx context.Context, users []*domain.User) ([]error, error) {
	refusals := make([]error, len(users))
	if slices.Contains(users, nil) {
		return refusals, wrap("create users", required("user"))
	}
	return refusals, r.createMany(ctx, users, refusals)
}

func (r *repository) createMany(ctx context.Context, users []*domain.User, refusals []error) error {
	if len(users) == 0 {
		return nil
	}
	if r.staged.Add(-1) < 0 {
		r.staged.Store(0)
		err := r.nested(ctx, func(tx *Tx) error { return tx.createAtOnce(ctx, users) })
		if !errors.Is(err, domain.ErrTaken) && !errors.Is(err, domain.ErrConflict) && !errors.Is(err, domain.ErrInvalid) {
			return err
		}
		r.staged.Store(stagedAfterCollision)
	}
	err := r.nested(ctx, func(tx *Tx) error {
		clear(refusals) // of an attempt that is repeated
		return tx.createStaged(ctx, users, refusals)
	})
	if !errors.Is(err, domain.ErrInvalid) {
		return err
	}
	// A check fails the statement as a whole. Halves find the account that it is about.
	clear(refusals)
	if len(users) == 1 {
		refusals[0] = err
		if refused := new(domain.Error); errors.As(err, &refused) && !isOfHook(err) {
			refusals[0] = refused
		}
		return nil
	}
	half := len(users) / 2
	if err := r.createMany(ctx, users[:half], refusals[:half]); err != nil {
		return err
	}
	return r.createMany(ctx, users[half:], refusals[half:])
}

// stagedAfterCollision is how many calls after a collision expect another one. Without a collision the staging table is a
// detour that takes half of the time; with one, what went straight into users was in vain, and PostgreSQL has dead rows to
// clear away.
const stagedAfterCollision = 16

// createAtOnce stores accounts, or fails at one that collides.
func (t *Tx) createAtOnce(ctx context.Context, users []*domain.User) error {
	all := make([]int, len(users))
	for i := range all {
		all[i] = i
	}
	sortByEmail(users, all)
	if err := t.copyUsers(ctx, usersTable, columnNames(), users, all); err != nil || !t.listened(imported) {
		return err
	}
	ids := make([]domain.ID, len(users))
	for i, u := range users {
		ids[i] = u.ID()
	}
	return t.notify(ctx, "create users", domain.EventImported, ids...)
}

// sortByEmail sorts places of accounts. Two calls that store the same accounts at once thus come to them in the same order, whatever that of their
// arguments is: one waits for the other, instead of both for each other, which the database ends after a second.
func sortByEmail(users []*domain.User, places []int) {
	slices.SortFunc(places, func(i, j int) int { return strings.Compare(users[i].Email().String(), users[j].Email().String()) })
}

// inOrder returns places of accounts in the order in which a statement is to store them: first those that do not collide with an earlier one of
// them, by address, and then the others as they came.
func inOrder(users []*domain.User, places []int) []int {
	type held struct {
		column int
		value  any
	}
	var unique []int // columns
	for i := range columns {
		if slices.Contains(uniqueColumns, columns[i].name) {
			unique = append(unique, i)
		}
	}
	taken := make(map[held]bool, 3*len(places))
	var first, later []int
	for _, i := range places {
		collides := false
		state := users[i].State()
		for _, column := range unique {
			if value := columns[column].get(&state); value != nil {
				collides = collides || taken[held{column, value}]
				taken[held{column, value}] = true
			}
		}
		if collides {
			later = append(later, i)
		} else {
			first = append(first, i)
		}
	}
	sortByEmail(users, first)
	return append(first, later...)
}

// copyUsers writes the accounts at some places into a table that has the columns, which are those of users and, in the
// staging table, the place of each among them.
func (t *Tx) copyUsers(ctx context.Context, table string, names []string, users []*domain.User, places []int) error {
	const op = "create users"
	schema := t.schema
	if table == staging { // a temporary table is in a schema of its own
		schema = ""
	}
	values := rows(t.dialect, names, users, places)
	if t.conn == nil || t.database.Copy == nil {
		_, err := t.insertRows(ctx, op, t.dialect.table(schema, table), names, values, "")
		return err
	}
	if err := t.database.Copy(ctx, t.conn, t.tx, t.dialect.table(schema, table), names, values); err != nil {
		return t.failure(ctx, op, err)
	}
	return nil
}

// insertRows writes rows by INSERT statements of many rows, as many as a statement takes, which end in what is given, and returns how many were stored.
func (t *Tx) insertRows(
	ctx context.Context, op, table string, names []string, values iter.Seq2[[]any, error], end string,
) (stored int64, err error) {
	const maxRows = 500
	most := min(maxRows, t.dialect.arguments/len(names))
	one := "(?" + strings.Repeat(", ?", len(names)-1) + ")"
	var args []any
	insert := func() error {
		if len(args) == 0 {
			return nil
		}
		text := t.dialect.fill("", "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES "+one+strings.Repeat(", "+one, len(args)/len(names)-1)+end)
		n, err := t.execute(ctx, op, text, args...)
		stored += n
		args = args[:0]
		return err
	}
	for row, err := range values {
		if err != nil {
			return stored, err
		}
		if args = append(args, row...); len(args) == most*len(names) {
			if err := insert(); err != nil {
				return stored, err
			}
		}
	}
	return stored, insert()
}

// The staging table has the columns of users, of the same types but without their rules, and the place of each row. It is this
// connection's own, and gone when the transaction ends, so that a pooler may give the next one to somebody else.
const (
	clearStaging = "DELETE FROM " + staging
	dropStaging  = "DROP TABLE " + staging
)

const (
	staging = "accounts_staging"
	place   = "staging_place"
)

func stagingColumns() []string { return append([]string{place}, columnNames()...) }

// uniqueColumns are the columns in which an account can collide with others, in the order in which they are reported.
var uniqueColumns = []string{
	user.FieldID, user.FieldEmail, user.FieldUsername, user.FieldPhone, user.FieldResetToken, user.FieldVerificationToken,
}

// stagedHolders returns a query for who holds the unique values of some staged accounts. As subqueries for one value they are looked up in the
// index, whatever the planner believes of the table's size.
func stagedHolders(inIDs string) string {
	var list strings.Builder
	for _, column := range uniqueColumns {
		list.WriteString(", (SELECT u.id FROM {users} AS u WHERE u." + column + " = staged." + column + ")")
	}
	return "SELECT id" + list.String() + " FROM " + staging + " AS staged WHERE id " + inIDs
}

// createStaged stores accounts within a transaction by way of a staging table. IDs are what tells its rows apart, so that
// accounts with one ID take turns.
func (t *Tx) createStaged(ctx context.Context, users []*domain.User, refusals []error) error {
	known, err := t.stored(ctx, users)
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
		return t.awaitStandby(ctx, "create users")
	}
	if err := t.statement(ctx, t.texts.createStaging); err != nil {
		return err
	}
	for first := true; len(pending) > 0; first = false {
		if !first {
			if err := t.statement(ctx, clearStaging); err != nil {
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
		if err := t.createTurn(ctx, users, turn, known, refusals); err != nil {
			return err
		}
		pending = later
	}
	return t.statement(ctx, dropStaging)
}

// stored returns the IDs of users that are stored already.
func (t *Tx) stored(ctx context.Context, users []*domain.User) (map[domain.ID]bool, error) {
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = u.ID().String()
	}
	found, err := collect(ctx, &t.repository, "create users", t.texts.storedIDs, []any{t.dialect.list(ids)}, scanned[uuid.UUID])
	stored := make(map[domain.ID]bool, len(found))
	for _, id := range found {
		stored[domain.IDFromUUID(id)] = true
	}
	return stored, err
}

// createTurn stores the accounts at the places of turn, whose IDs differ.
func (t *Tx) createTurn(ctx context.Context, users []*domain.User, turn []int, known map[domain.ID]bool, refusals []error) error {
	const op = "create users"
	if len(turn) == 0 {
		return nil
	}
	if err := t.copyUsers(ctx, staging, stagingColumns(), users, inOrder(users, turn)); err != nil {
		return err
	}
	created, err := collect(ctx, &t.repository, op, t.texts.insertStaged, nil, scanID)
	if err != nil {
		return err
	}
	for _, id := range created {
		known[id] = true
	}
	if err := t.notify(ctx, op, domain.EventImported, created...); err != nil {
		return err
	}
	if len(created) == len(turn) {
		return nil
	}
	return t.refuseRest(ctx, users, turn, created, known, refusals)
}

// refuseRest says why the accounts at the places of turn that were not created were refused: for the first value that another account holds, but for
// one that was created after it and could take the value because of the refusal.
func (t *Tx) refuseRest(
	ctx context.Context, users []*domain.User, turn []int, created []domain.ID, known map[domain.ID]bool, refusals []error,
) error {
	places := make(map[domain.ID]int, len(turn)) // of accounts of the turn
	for _, i := range turn {
		places[users[i].ID()] = i
	}
	now := make(map[domain.ID]bool, len(created))
	for _, id := range created {
		now[id] = true
	}
	var ids []string
	for _, i := range turn {
		if id := users[i].ID(); !now[id] {
			ids = append(ids, id.String())
			refusals[i] = conflict() // unless somebody holds a value of it still
		}
	}
	type row struct {
		id      uuid.UUID
		holders []uuid.NullUUID // of uniqueColumns
	}
	refused, err := collect(ctx, &t.repository, "create users", t.texts.stagedHolders, []any{t.dialect.list(ids)}, func(rows Rows) (row, error) {
		r := row{holders: make([]uuid.NullUUID, len(uniqueColumns))}
		targets := []any{&r.id}
		for i := range r.holders {
			targets = append(targets, &r.holders[i])
		}
		return r, rows.Scan(targets...)
	})
	if err != nil {
		return err
	}
	for _, r := range refused {
		id := domain.IDFromUUID(r.id)
		column := slices.IndexFunc(r.holders, func(holder uuid.NullUUID) bool {
			by := domain.IDFromUUID(holder.UUID)
			after := now[by] && places[by] > places[id]
			return holder.Valid && !after
		})
		if column < 0 {
			continue
		}
		err := collision("users." + uniqueColumns[column])
		refusals[places[id]] = err
		if errors.Is(err, domain.ErrConflict) {
			known[id] = true
		}
	}
	return nil
}

// rows yields the accounts at some places, as columns or, where place is among the names, with their own one among them before.
func rows(d *dialect, names []string, users []*domain.User, places []int) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for n, i := range places {
			row := rowValues(users[i])
			if names[0] == place {
				row = append([]any{int64(n)}, row...)
			}
			if !yield(d.values(row), nil) {
				return
			}
		}
	}
}

// statement runs a statement without arguments.
func (t *Tx) statement(ctx context.Context, text string) error {
	_, err := t.execute(ctx, "create users", text)
	return err
}
