package migration

import (
	"context"
	"database/sql"

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// CheckRenames turns on what the first statement of [Carry] turns off.
const CheckRenames = script.CheckRenames

// Carry returns the statements to be executed before and after those that make tables of SQLite again (CREATE new_x, INSERT, DROP x, RENAME), so
// that nothing of an application is lost: what is neither in the statements nor in made, which are statements that have made what is to go. Triggers
// stay unless the statements make or drop them. The error is a [domain.ErrConflict] that lists what cannot be kept.
func Carry(ctx context.Context, conn *sql.Conn, statements, made []string) (before, after []string, err error) {
	return script.Carry(ctx, conn, statements, script.MadeBy(made))
}

// PartsOfTable returns the columns and the constraints of a CREATE TABLE statement of SQLite as they are written, the constraints first.
func PartsOfTable(create string) []string { return script.Parts(create) }
