package adoption

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/identifier"
)

// retryLocked calls work again when it could not have a lock, after letting through those who queued up behind it.
func (a *Adoption) retryLocked(ctx context.Context, work func() error) error {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		err := work()
		if !isLockTimeout(err) || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second + rand.N(4*time.Second)):
		}
	}
}

// takeOver does what changes the table, in one transaction.
func (a *Adoption) takeOver(ctx context.Context, notes *staging) (err error) {
	// A refusal holds no lock.
	if err := notes.decide(ctx); err != nil {
		return err
	}
	if err := notes.blockedBy(ctx); err != nil {
		return err
	}
	uncalled := func(Problem) error { return nil }
	summary, err := notes.summarise(ctx, uncalled)
	if err != nil {
		return err
	}
	if err := a.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = a.exec(context.WithoutCancel(ctx), "ROLLBACK") // the connection may be gone; the error says why
		}
	}()
	if err := a.exec(ctx, "LOCK TABLE "+a.source.name+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return err
	}
	changed, err := notes.fill(ctx)
	if err != nil {
		return err
	}
	if changed {
		if err := notes.decide(ctx); err != nil {
			return err
		}
		if summary, err = notes.summarise(ctx, uncalled); err != nil {
			return err
		}
	}
	if err := notes.blockedBy(ctx); err != nil {
		return err
	}
	if a.source.inPlace {
		err = a.convertInPlace(ctx, notes)
	} else {
		err = a.copyOver(ctx, notes)
	}
	if err != nil {
		return err
	}
	if err := a.compare(ctx); err != nil {
		return err
	}
	if err := a.runner.Baseline(ctx, a.conn); err != nil {
		return err
	}
	if err := a.finish(ctx, &summary); err != nil {
		return err
	}
	if err := a.exec(ctx, "COMMIT"); err != nil {
		return err
	}
	a.done = &summary
	return nil
}

// quarantine keeps the whole rows of those that are not adopted.
func (a *Adoption) quarantine(ctx context.Context, notes *staging) error {
	if err := a.exec(ctx, "CREATE TABLE "+sideSchema+`.quarantine (
		old_id text PRIMARY KEY,
		original jsonb NOT NULL,
		problem text NOT NULL,
		field text NOT NULL,
		kept_id text,
		at timestamptz NOT NULL)`); err != nil {
		return err
	}
	return a.exec(ctx, "INSERT INTO "+sideSchema+".quarantine SELECT c.old_id, to_jsonb(u), CASE WHEN c.conflicting IS NULL THEN '"+invalid+
		"' ELSE '"+collision+"' END, c.field, c.conflicting, now() FROM "+notes.table+" c JOIN "+a.source.name+" u ON "+a.joined()+
		" WHERE c.decision = '"+quarantined+"'")
}

// noteOrigin keeps the old key, and the values that were replaced, of accounts that changed.
func (a *Adoption) noteOrigin(ctx context.Context, notes *staging) error {
	if err := a.exec(ctx, "CREATE TABLE "+sideSchema+".origin (old_id text PRIMARY KEY, id uuid NOT NULL UNIQUE, original jsonb)"); err != nil {
		return err
	}
	return a.exec(ctx, "INSERT INTO "+sideSchema+".origin SELECT old_id, id, CASE WHEN decision = 'without_phone' "+
		"THEN jsonb_build_object('phone', phone) || coalesce(original, '{}') ELSE original END FROM "+notes.table+
		" WHERE decision IS DISTINCT FROM '"+quarantined+"' AND (original IS NOT NULL OR decision IS NOT NULL OR old_id <> id::text)")
}

// joined is the condition by which rows u belong to notes c. It casts the note's side where that serves the table's index.
func (a *Adoption) joined() string {
	if a.source.types[a.source.key()] == "uuid" {
		return "u." + identifier.Quote(a.source.key()) + " = c.id"
	}
	return text("u.", a.source.key()) + " = c.old_id"
}

const phoneKept = "CASE WHEN c.decision IS NULL THEN c.phone END"

func (a *Adoption) convertInPlace(ctx context.Context, notes *staging) error {
	suspend, err := a.words(ctx, "look for triggers and rules", suspending, a.source.name)
	if err != nil {
		return err
	}
	if err := a.exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return err
	}
	for _, what := range suspend {
		if err := a.exec(ctx, "ALTER TABLE "+a.source.name+" DISABLE "+strings.TrimPrefix(what, "ALWAYS ")); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context, *staging) error{a.quarantine, a.noteOrigin, a.prepare, a.rewriteTexts, a.alter} {
		if err := step(ctx, notes); err != nil {
			return err
		}
	}
	for _, what := range suspend {
		if err := a.exec(ctx, "ALTER TABLE "+a.source.name+" ENABLE "+what); err != nil {
			return err
		}
	}
	return nil
}

// suspending names the triggers and rules of the table that are in force, which are other people's and not meant for this: what follows
// DISABLE and ENABLE. The word ALWAYS is for ENABLE.
const suspending = `SELECT CASE tgenabled WHEN 'A' THEN 'ALWAYS ' ELSE '' END || format('TRIGGER %I', tgname) FROM pg_trigger
		WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgenabled IN ('O', 'A')
	UNION ALL SELECT CASE ev_enabled WHEN 'A' THEN 'ALWAYS ' ELSE '' END || format('RULE %I', rulename) FROM pg_rewrite
		WHERE ev_class = to_regclass($1) AND ev_enabled IN ('O', 'A')`

// prepare takes away what would be in the way of Atlas's plan.
func (a *Adoption) prepare(ctx context.Context, _ *staging) error {
	for _, statement := range a.preparation() {
		if err := a.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// preparation returns the statements for what Atlas does not plan: defaults from which no cast leads, widths below this
// program's, which texts may exceed before they are converted, and constraints where this program has indexes of the same
// name, or a key with another.
func (a *Adoption) preparation() []string {
	var changes []string
	for _, to := range a.target.table.Columns {
		from, ok := a.source.live.Column(to.Name)
		if !ok {
			continue
		}
		if from.Default != nil {
			changes = append(changes, "ALTER COLUMN "+identifier.Quote(to.Name)+" DROP DEFAULT")
		}
		if was, is := from.Type.Type, to.Type.Type; mappable[to.Name] == textual && to.Name != "id" && isText(is) && narrower(was, is) {
			changes = append(changes, "ALTER COLUMN "+identifier.Quote(to.Name)+" TYPE text")
		}
	}
	for _, index := range a.source.live.Indexes {
		if name := uniqueConstraint(index); name != "" && a.replaces(index) {
			changes = append(changes, "DROP CONSTRAINT "+identifier.Quote(name))
		}
	}
	var statements []string
	if len(changes) > 0 {
		statements = append(statements, `ALTER TABLE "users" `+strings.Join(changes, ", "))
	}
	if key := a.source.live.PrimaryKey.Name; key != "" && key != primaryKey {
		statements = append(statements, `ALTER TABLE "users" RENAME CONSTRAINT `+identifier.Quote(key)+" TO "+primaryKey)
	}
	// The rewriting of the table then obeys them.
	return append(statements, a.target.storage...)
}

// primaryKey is what PostgreSQL calls that of the declared table.
const primaryKey = "users_pkey"

// uniqueConstraint returns the name of the constraint that an index serves, or "".
func uniqueConstraint(index *schema.Index) string {
	for _, attribute := range index.Attrs {
		if c, ok := attribute.(*postgres.Constraint); ok && c.IsUnique() {
			return c.N
		}
	}
	return ""
}

func isText(t schema.Type) bool {
	_, ok := t.(*schema.StringType)
	return ok
}

// narrower tells whether a text may not fit into a column of type was that fits into one of type is.
func narrower(was, is schema.Type) bool {
	old, ok := was.(*schema.StringType)
	return !ok || old.Size > 0 && old.Size < is.(*schema.StringType).Size
}

// rewriteTexts removes the rows that were quarantined and writes the texts that become others.
func (a *Adoption) rewriteTexts(ctx context.Context, notes *staging) error {
	if err := a.exec(ctx, "DELETE FROM "+a.source.name+" u USING "+notes.table+" c WHERE "+a.joined()+" AND c.decision = '"+quarantined+"'"); err != nil {
		return err
	}
	var set, differ []string
	for _, change := range []struct{ column, value string }{
		{"email", "c.email"}, {"username", "c.username"}, {"hashed_password", "coalesce(c.hash, " + text("u.", "hashed_password") + ")"},
		{"first_name", "c.first_name"}, {"last_name", "c.last_name"}, {"phone", phoneKept},
	} {
		if _, ok := a.source.types[change.column]; ok {
			set = append(set, change.column+" = "+change.value)
			differ = append(differ, text("u.", change.column)+" IS DISTINCT FROM "+change.value)
		}
	}
	return a.exec(ctx, "UPDATE "+a.source.name+" u SET "+strings.Join(set, ", ")+" FROM "+notes.table+" c WHERE "+a.joined()+
		" AND ("+strings.Join(differ, " OR ")+")")
}

// alter carries out Atlas's plan for the table as it is now.
func (a *Adoption) alter(ctx context.Context, _ *staging) error {
	live, err := a.inspect(ctx)
	if err != nil {
		return err
	}
	planned, err := a.statements(ctx, live)
	if err != nil {
		return err
	}
	return a.execAll(ctx, planned)
}

func (a *Adoption) execAll(ctx context.Context, planned []*migrate.Change) error {
	for _, change := range planned {
		if err := a.exec(ctx, change.Cmd, change.Args...); err != nil {
			return err
		}
	}
	return nil
}

func (a *Adoption) inspect(ctx context.Context) (*schema.Table, error) {
	found, err := a.driver.InspectSchema(ctx, "", &schema.InspectOptions{Tables: []string{"users"}})
	if err != nil {
		return nil, failure("inspect the table", err)
	}
	table, ok := found.Table("users")
	if !ok {
		return nil, refuse(domain.ErrConflict, "", "there is no table users any more")
	}
	return table, nil
}

// copyOver makes a new table users of a table that is left as it is. If that has the same name, it moves to the schema
// of what is left beside.
func (a *Adoption) copyOver(ctx context.Context, notes *staging) error {
	if a.source.Table == "users" {
		if err := a.exec(ctx, "ALTER TABLE "+a.source.name+" SET SCHEMA "+sideSchema); err != nil {
			return err
		}
		moved := *a.source
		moved.name = sideSchema + ".users"
		before := a.source
		a.source = &moved
		defer func() { a.source = before }()
	}
	if err := a.quarantine(ctx, notes); err != nil {
		return err
	}
	if err := a.noteOrigin(ctx, notes); err != nil {
		return err
	}
	planned, err := a.statements(ctx, nil)
	if err != nil {
		return err
	}
	// Indexes are built once the rows are there.
	if err := a.execAll(ctx, planned[:1]); err != nil {
		return err
	}
	for _, statement := range a.target.storage {
		if err := a.exec(ctx, statement); err != nil {
			return err
		}
	}
	var columns, values []string
	for _, column := range a.target.table.Columns {
		value := a.source.value("u.", column.Name)
		switch column.Name {
		case "id", "email", "username", "first_name", "last_name":
			value = "c." + column.Name
		case "phone":
			value = phoneKept
		case "hashed_password":
			value = "coalesce(c.hash, " + value + ")"
		}
		columns, values = append(columns, identifier.Quote(column.Name)), append(values, value)
	}
	if err := a.exec(ctx, "INSERT INTO "+identifier.Quote(a.source.schema)+".users ("+strings.Join(columns, ", ")+") SELECT "+strings.Join(values, ", ")+
		" FROM "+a.source.name+" u JOIN "+notes.table+" c ON "+a.joined()+" WHERE c.decision IS DISTINCT FROM '"+quarantined+"'"); err != nil {
		return err
	}
	return a.execAll(ctx, planned[1:])
}

// compare makes sure that the table is the declared one, as "migrate verify" will, and that no account was lost.
func (a *Adoption) compare(ctx context.Context) error {
	live, err := a.inspect(ctx)
	if err != nil {
		return err
	}
	to := a.target.table
	from, into := schema.New(a.source.schema).AddTables(a.ours(live)), schema.New(a.source.schema).AddTables(to)
	differences, err := a.driver.SchemaDiff(from, into)
	if err != nil {
		return failure("compare the tables", err)
	}
	if len(differences) > 0 {
		return refuse(domain.ErrDrift, "", "the converted table would not be as declared; nothing was changed")
	}
	var accounts, noted int64
	if err := a.conn.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM "+identifier.Quote(a.source.schema)+".users), (SELECT count(*) FROM "+
		sideSchema+".canonical WHERE decision IS DISTINCT FROM '"+quarantined+"')").Scan(&accounts, &noted); err != nil {
		return failure("count the accounts", err)
	}
	if accounts != noted {
		return refuse(domain.ErrConflict, "", fmt.Sprintf("%d accounts would remain of %d; nothing was changed", accounts, noted))
	}
	return nil
}

// finish records the adoption.
func (a *Adoption) finish(ctx context.Context, summary *Summary) error {
	if err := a.exec(ctx, "CREATE TABLE "+sideSchema+".adoption (at timestamptz NOT NULL, summary jsonb NOT NULL)"); err != nil {
		return err
	}
	var at time.Time
	if err := a.conn.QueryRowContext(ctx, "SELECT now()").Scan(&at); err != nil {
		return failure("record the adoption", err)
	}
	at = at.UTC()
	summary.Adopted, summary.At = true, &at
	encoded, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	return a.exec(ctx, "INSERT INTO "+sideSchema+".adoption VALUES ($1, $2)", at, string(encoded))
}

// finished returns the summary of an adoption that was recorded, or nil.
func (a *Adoption) finished(ctx context.Context) (*Summary, error) {
	exists, err := a.exists(ctx, sideSchema+".adoption")
	if err != nil || !exists {
		return nil, err
	}
	var encoded []byte
	if err := a.conn.QueryRowContext(ctx, "SELECT summary FROM "+sideSchema+".adoption").Scan(&encoded); err != nil {
		return nil, failure("read the adoption's record", err)
	}
	summary := new(Summary)
	return summary, json.Unmarshal(encoded, summary)
}
