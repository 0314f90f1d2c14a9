package adoption

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/ent/migrate/sqlite"
	"github.com/softbee/accounts/infra/internal/identifier"
	"github.com/softbee/accounts/infra/migration"
)

// file is the adoption of a table in a file of SQLite: one transaction reads the rows, decides, and makes the table again. Nothing of an
// interrupted one remains.
type file struct {
	*Adoption
	location   *time.Location
	create     string   // the source's CREATE TABLE
	order      []string // its columns
	statements []string // those that make the new tables, with the one that fills it
	before     []string // what keeps an application's objects is executed before and after them
	after      []string
}

// What an adoption leaves beside the accounts has no schema of its own on SQLite.
const (
	fileRecord     = "accounts_adoption"
	fileQuarantine = "accounts_adoption_quarantine"
	fileOrigin     = "accounts_adoption_origin"
	fileOld        = "accounts_adoption_users"
	notesOfFile    = "temp.canonical"
)

func (f *file) inspect(ctx context.Context, migrated bool) (err error) {
	a := f.Adoption
	if a.done, err = f.finished(ctx); err != nil || a.done != nil {
		return err
	}
	if migrated {
		return errMigrated
	}
	if f.location, err = time.LoadLocation(a.options.Zone); err != nil { // "" is UTC
		return refuse(domain.ErrInvalid, "zone", "is not an IANA name that this system knows, such as America/Bogota or UTC")
	}
	if err := f.readSource(ctx); err != nil {
		return err
	}
	return f.plan(ctx)
}

var withoutRowid = regexp.MustCompile(`(?i)\bWITHOUT\s+ROWID\b[^)]*$`)

// readSource inspects the table and fits the mapping to it.
func (f *file) readSource(ctx context.Context) error {
	a := f.Adoption
	s := &source{Mapping: a.options.Mapping, inPlace: a.options.Mapping == nil, zone: a.options.Zone, types: map[string]string{}}
	if s.zone == "" {
		s.zone = "UTC"
	}
	table := "users"
	if s.Mapping != nil {
		table = s.Table
	}
	s.name = identifier.Quote(table)
	found, err := a.pairs(ctx, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name = ?1", table)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return refuse(domain.ErrNotFound, "", "there is no table "+table)
	}
	if f.create = found[0][1]; withoutRowid.MatchString(f.create) {
		return refuse(domain.ErrConflict, "", "table "+table+" is one WITHOUT ROWID: expected an ordinary one, into which its rows can be copied")
	}
	columns, err := a.pairs(ctx, "SELECT name, CASE pk WHEN 0 THEN '' ELSE pk END FROM pragma_table_info(?1) ORDER BY cid", table)
	if err != nil {
		return err
	}
	var keys []string
	for _, c := range columns {
		f.order = append(f.order, c[0])
		s.types[c[0]] = "text"
		if c[1] != "" {
			keys = append(keys, c[0])
		}
	}
	if s.Mapping == nil {
		s.Mapping = predecessor(slices.Collect(maps.Keys(s.types)))
	}
	names, err := fs.Glob(sqlite.Files, "*.sql")
	if err != nil {
		return err
	}
	version, _, _ := strings.Cut(slices.Max(names), "_")
	a.source, a.target = s, &target{version: version}
	for _, required := range []string{"id", "email", "username", "hashed_password"} {
		if _, ok := s.Columns[required]; !ok {
			return refuse(domain.ErrInvalid, "map", "is needed: table "+s.Table+" has no column "+required)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Columns)) {
		column := s.Columns[name].Column + s.Columns[name].Set
		if _, ok := s.types[column]; !ok && column != "" {
			return refuse(domain.ErrInvalid, "map", "names column "+column+", which table "+s.Table+" does not have")
		}
		if mappable[name] == instant && column != "" {
			s.types[column] = "timestamp without time zone" // which SQLite does not know otherwise
		}
	}
	if len(keys) != 1 || keys[0] != s.key() {
		return refuse(domain.ErrInvalid, "map", s.key()+" is not the primary key of table "+s.Table)
	}
	if !s.inPlace {
		return nil
	}
	s.types["id"] = "uuid"
	var others int
	form := strings.ReplaceAll("????????-????-????-????-????????????", "?", "[0-9a-f]")
	if err := a.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+s.name+" WHERE NOT (typeof(id) = 'text' AND id GLOB ?1)", form).Scan(&others); err != nil {
		return failure("look at the keys", err)
	}
	if others > 0 {
		return refuse(domain.ErrInvalid, "map", fmt.Sprintf("is needed: %d keys of table %s are not UUIDs of 36 characters in lower case", others, s.Table))
	}
	return nil
}

// plan works out the statements, what stays, and what is in the way.
func (f *file) plan(ctx context.Context) error {
	s := f.source
	for _, other := range []string{"account_events", "identities", "users", fileOld} {
		found, err := f.pairs(ctx, "SELECT name, type FROM sqlite_schema WHERE name = ?1", other)
		if err != nil {
			return err
		}
		if len(found) > 0 && (other != "users" || s.Table != "users") {
			f.Obstacles = append(f.Obstacles, "there is a "+found[0][1]+" "+other+" already: rename it")
		}
	}
	users := "users"
	if s.inPlace {
		users = "new_users"
	}
	var indexes []string
	for _, statement := range regexp.MustCompile(`(?s)CREATE .*?;\n`).FindAllString(desired.SQLite, -1) {
		statement = strings.TrimSuffix(statement, ";\n")
		switch {
		case strings.HasPrefix(statement, "CREATE TABLE `users`"):
			f.statements = append(f.statements, strings.Replace(statement, "CREATE TABLE `users`", "CREATE TABLE `"+users+"`", 1), f.insert(users))
		case strings.HasPrefix(statement, "CREATE TABLE"):
			indexes = append([]string{statement}, indexes...)
		default:
			indexes = append(indexes, statement)
		}
	}
	if s.inPlace {
		f.statements = append(f.statements, "DROP TABLE `users`", "ALTER TABLE `new_users` RENAME TO `users`")
	} else if s.Table == "users" {
		f.statements = append([]string{"ALTER TABLE `users` RENAME TO `" + fileOld + "`"}, f.statements...)
		views, err := f.pairs(ctx, "SELECT name, '' FROM sqlite_schema WHERE type = 'view' AND sql LIKE '%users%'")
		if err != nil {
			return err
		}
		for _, view := range views {
			f.Obstacles = append(f.Obstacles, "view "+view[0]+" depends on the table, which is to be moved away: drop it, and make it again afterwards")
		}
	}
	f.statements = append(f.statements, indexes...)
	for _, statement := range f.runner.Statements() {
		if createsRoutine.MatchString(statement) {
			f.statements = append(f.statements, strings.TrimSuffix(statement, ";"))
		}
	}
	if s.inPlace {
		if err := f.keep(ctx); err != nil {
			return err
		}
	}
	f.Statements = slices.Concat(f.before, f.statements, f.after)

	for _, column := range f.targetColumns() {
		change := ColumnChange{Column: column[0], To: column[1], Change: "added: " + absent(column[0])}
		origin := s.Columns[column[0]]
		from := origin.Column + origin.Set
		if slices.Contains(tokens, column[0]) && s.inPlace {
			from = column[0]
		}
		if _, there := s.types[from]; there {
			change.From, change.Change = from, s.describe(column[0], origin)
		} else if origin.Constant != nil {
			change.Change = "added: " + strconv.FormatBool(*origin.Constant)
		}
		f.Columns = append(f.Columns, change)
	}
	for _, other := range s.others() {
		f.Columns = append(f.Columns, ColumnChange{Column: other, From: other, To: other, Change: "stays: it is not this program's"})
	}
	return nil
}

var declaredColumn = regexp.MustCompile("(?m)^  `(\\w+)` (\\w+)( NOT)? NULL")

// targetColumns are those of the declared table users, with type and NOT NULL.
func (f *file) targetColumns() (columns [][2]string) {
	_, table, _ := strings.Cut(desired.SQLite, "CREATE TABLE `users`")
	table, _, _ = strings.Cut(table, ";\n")
	for _, match := range declaredColumn.FindAllStringSubmatch(table, -1) {
		format := match[2]
		if match[3] != "" {
			format += " NOT NULL"
		}
		columns = append(columns, [2]string{match[1], format})
	}
	return columns
}

// insert fills the new table from the notes.
func (f *file) insert(table string) string {
	var names, values []string
	for _, column := range f.targetColumns() {
		value := "c." + column[0]
		switch column[0] {
		case "phone":
			value = phoneKept
		case "hashed_password":
			value = "c.hash"
		case "created_at", "updated_at":
			value = "coalesce(" + value + ", CURRENT_TIMESTAMP)"
		}
		if _, noted := mappable[column[0]]; !noted {
			value = strings.TrimSuffix(absent(column[0]), "::jsonb")
		}
		names, values = append(names, "`"+column[0]+"`"), append(values, value)
	}
	return "INSERT INTO `" + table + "` (" + strings.Join(names, ", ") + ") SELECT " + strings.Join(values, ", ") + " FROM " + notesOfFile +
		" c WHERE c.decision IS NOT '" + quarantined + "'"
}

// keep works out what carries over an application's columns, indexes and triggers, or adds to the obstacles what cannot be carried.
func (f *file) keep(ctx context.Context) error {
	ours := []string{"CREATE TABLE `users` (" + strings.Join(f.replaced(), ", ") + ")"}
	indexes, err := f.pairs(ctx, `SELECT l.name, (SELECT group_concat(name) FROM pragma_index_info(l.name)) FROM pragma_index_list('users') l
		WHERE l.origin = 'c' AND NOT l.partial`)
	if err != nil {
		return err
	}
	for _, index := range indexes {
		if strings.Contains(desired.SQLite, " ON `users` (`"+strings.ReplaceAll(index[1], ",", "`, `")+"`);") {
			ours = append(ours, "CREATE INDEX "+identifier.Quote(index[0])+" ON `users` (x)") // a declared one takes its place
		}
	}
	f.before, f.after, err = migration.Carry(ctx, f.conn, f.statements, ours)
	if refusal := new(domain.Error); errors.As(err, &refusal) && refusal.Kind == domain.ErrConflict {
		f.Obstacles = append(f.Obstacles, refusal.Reason+": take that away, and make it again afterwards")
		return nil
	}
	return err
}

var (
	keyConstraint   = regexp.MustCompile(`(?is)^(?:CONSTRAINT\s+\S+\s+)?(?:PRIMARY\s+KEY|UNIQUE)\s*\(([^()]*)\)`)
	truthConstraint = regexp.MustCompile(`(?is)^(?:CONSTRAINT\s+\S+\s+)?CHECK\s*\(\s*\W?(\w+)\W?\s+IN\s*\(\s*0\s*,\s*1\s*\)\s*\)`)
)

// replaced are the parts of the source's CREATE TABLE in whose place ours come: our columns, the primary key, unique constraints on our columns, and
// checks that a truth value is one.
func (f *file) replaced() (parts []string) {
	for _, part := range migration.PartsOfTable(f.create) {
		columns := ""
		if key := keyConstraint.FindStringSubmatch(part); key != nil {
			columns = key[1]
		} else if check := truthConstraint.FindStringSubmatch(part); check != nil {
			columns = check[1]
		}
		all := columns != ""
		for column := range strings.SplitSeq(columns, ",") {
			all = all && taken(strings.Trim(strings.TrimSpace(column), "\"`[]"))
		}
		if all {
			parts = append(parts, part)
		}
	}
	for _, column := range f.order {
		if taken(column) {
			parts = append(parts, identifier.Quote(column)+" text")
		}
	}
	return parts
}

// report notes what becomes of the rows, among the temporary tables of the connection, and reports it.
func (f *file) report(ctx context.Context, each func(Problem) error) (_ Summary, err error) {
	if err := f.exec(ctx, "BEGIN"); err != nil { // so that it sees one state of the file
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, f.exec(context.WithoutCancel(ctx), "ROLLBACK")) }()
	notes, err := f.note(ctx)
	if err != nil {
		return Summary{}, err
	}
	return notes.summarise(ctx, each)
}

// adopt does the same, and goes on to make the table again, all in one transaction.
func (f *file) adopt(ctx context.Context, each func(Problem) error) (summary Summary, err error) {
	unlock, err := f.runner.Lock(ctx, f.conn)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	var enforced bool
	if err := f.conn.QueryRowContext(ctx, "PRAGMA foreign_keys").Scan(&enforced); err != nil {
		return Summary{}, failure("prepare the connection", err)
	}
	if enforced {
		if err := f.exec(ctx, "PRAGMA foreign_keys = off"); err != nil {
			return Summary{}, err
		}
		defer func() { err = errors.Join(err, f.exec(context.WithoutCancel(ctx), "PRAGMA foreign_keys = on")) }()
	}
	if err := f.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return Summary{}, err
	}
	defer func() {
		_ = f.exec(context.WithoutCancel(ctx), migration.CheckRenames)
		if err != nil {
			_ = f.exec(context.WithoutCancel(ctx), "ROLLBACK") // the transaction may be gone; the error says why
		}
	}()
	if done, err := f.finished(ctx); err != nil || done != nil {
		return Summary{}, errors.Join(err, refuse(domain.ErrConflict, "", "another program has adopted the table meanwhile"))
	}
	broken, err := f.brokenReferences(ctx)
	if err != nil {
		return Summary{}, err
	}
	notes, err := f.note(ctx)
	if err != nil {
		return Summary{}, err
	}
	if summary, err = notes.summarise(ctx, each); err != nil {
		return summary, err
	}
	if err := notes.blockedBy(ctx); err != nil {
		return summary, err
	}
	if err := f.execute(ctx, summary.Kept, broken); err != nil {
		return summary, err
	}
	if err := f.finish(ctx, &summary); err != nil {
		return summary, err
	}
	if err := f.exec(ctx, "COMMIT"); err != nil {
		return summary, err
	}
	f.done = &summary
	return summary, nil
}

// execute makes the tables, and makes sure that no account and no reference was lost.
func (f *file) execute(ctx context.Context, kept, broken int64) error {
	statements := []string{
		"CREATE TABLE " + fileQuarantine + " (old_id text PRIMARY KEY, original json NOT NULL, problem text NOT NULL, field text NOT NULL, kept_id text, at datetime NOT NULL)",
		"INSERT INTO " + fileQuarantine + " SELECT c.old_id, " + f.whole() + ", CASE WHEN c.conflicting IS NULL THEN '" + invalid + "' ELSE '" + collision +
			"' END, c.field, c.conflicting, CURRENT_TIMESTAMP FROM " + notesOfFile + " c JOIN " + f.source.name + " u ON u." + identifier.Quote(f.source.key()) +
			" = c.old_id COLLATE BINARY WHERE c.decision = '" + quarantined + "'",
		"CREATE TABLE " + fileOrigin + " (old_id text PRIMARY KEY, id uuid NOT NULL UNIQUE, original json)",
		"INSERT INTO " + fileOrigin + " SELECT old_id, id, CASE WHEN decision = 'without_phone' THEN json_set(coalesce(original, '{}'), '$.phone', " +
			"coalesce(original->>'phone', phone)) ELSE original END FROM " + notesOfFile + " WHERE decision IS NOT '" + quarantined +
			"' AND (original IS NOT NULL OR decision IS NOT NULL OR old_id <> id)",
	}
	for _, statement := range slices.Concat(statements, f.before, f.statements, f.after) {
		if err := f.exec(ctx, statement); err != nil {
			return err
		}
	}
	var accounts int64
	if err := f.conn.QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&accounts); err != nil {
		return failure("count the accounts", err)
	}
	if accounts != kept {
		return refuse(domain.ErrConflict, "", fmt.Sprintf("%d accounts would remain of %d; nothing was changed", accounts, kept))
	}
	after, err := f.brokenReferences(ctx)
	if err == nil && after > broken {
		err = refuse(domain.ErrConflict, "", fmt.Sprintf("%d rows of other tables would refer to accounts that are not there; nothing was changed", after-broken))
	}
	if err != nil {
		return err
	}
	return f.runner.Baseline(ctx, f.conn)
}

// whole is a row of the source as JSON.
func (f *file) whole() string {
	var members []string
	for _, column := range f.order {
		name := "u." + identifier.Quote(column)
		members = append(members, literal(column)+", CASE typeof("+name+") WHEN 'blob' THEN hex("+name+") ELSE "+name+" END")
	}
	return "json_object(" + strings.Join(members, ", ") + ")"
}

func (f *file) brokenReferences(ctx context.Context) (n int64, err error) {
	err = f.conn.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&n)
	return n, failure("look for references", err)
}

// note reads all rows and decides which are kept.
func (f *file) note(ctx context.Context) (*staging, error) {
	notes := &staging{f.Adoption, notesOfFile, "TEMPORARY TABLE"}
	for _, statement := range []string{
		"DROP TABLE IF EXISTS " + notes.table,
		"CREATE TABLE " + notes.table + ` (old_id text PRIMARY KEY, id text NOT NULL, email text, username text, phone text, first_name text,
			last_name text, hash text, is_active integer, is_verified integer, failed_login_attempts integer, last_login text, locked_until text,
			created_at text, updated_at text, problems text NOT NULL, original text, fault text, decision text, field text, conflicting text)`,
	} {
		if err := f.exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	var total, done int64
	if err := f.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+f.source.name).Scan(&total); err != nil {
		return nil, failure("count the rows", err)
	}
	for after := int64(-1 << 63); ; {
		n, last, err := f.noteBatch(ctx, after)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		done, after = done+n, last
		if f.options.Progress != nil {
			f.options.Progress(done, max(total, done))
		}
	}
	return notes, f.decide(ctx, notes)
}

// noteBatch notes the next rows after a rowid.
func (f *file) noteBatch(ctx context.Context, after int64) (n, last int64, err error) {
	s := f.source
	names := slices.Sorted(maps.Keys(s.Columns))
	selected := []string{"u.rowid", "CAST(u." + identifier.Quote(s.key()) + " AS TEXT)"}
	for _, name := range names {
		column := s.Columns[name].Column + s.Columns[name].Set
		if column == "" {
			selected = append(selected, "NULL")
			continue
		}
		selected = append(selected, "CAST(u."+identifier.Quote(column)+" AS TEXT)")
	}
	held := []string{}
	for _, token := range tokens {
		if _, ok := s.types[token]; ok && s.inPlace && !strings.HasSuffix(token, "expiry") {
			held = append(held, token)
			selected = append(selected, "CAST(u."+identifier.Quote(token)+" AS TEXT)")
		}
	}
	rows, err := f.conn.QueryContext(ctx, "SELECT "+strings.Join(selected, ", ")+" FROM "+s.name+" u WHERE u.rowid > ?1 ORDER BY u.rowid LIMIT ?2", after, batch)
	if err != nil {
		return 0, 0, failure("read the rows", err)
	}
	var records []fileNote
	scanned := func() (err error) { //nolint:contextcheck // hashes are parsed under an ended one, so that none is computed
		defer func() { err = errors.Join(err, rows.Close()) }()
		values := make([]*string, len(selected)-2)
		destinations := []any{&last, new(string)}
		for i := range values {
			destinations = append(destinations, &values[i])
		}
		for rows.Next() {
			if err := rows.Scan(destinations...); err != nil {
				return failure("read the rows", err)
			}
			row := map[string]*string{}
			for i, name := range slices.Concat(names, held) {
				row[name] = values[i]
			}
			r, err := f.become(*destinations[1].(*string), row)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
		return failure("read the rows", rows.Err())
	}
	if err := scanned(); err != nil {
		return 0, 0, err
	}
	for _, r := range records {
		if err := f.exec(ctx, "INSERT INTO "+notesOfFile+" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)", r.values()...); err != nil {
			return 0, 0, err
		}
	}
	return int64(len(records)), last, nil
}

// fileNote is what a row becomes.
type fileNote struct {
	record
	hash                            string
	active, verified                bool
	attempts                        int64
	login, locked, created, updated *string
}

func (r fileNote) values() []any {
	problems, original := encode(r.Problems), any(nil)
	if len(r.Original) > 0 {
		original = encode(r.Original)
	}
	return []any{
		r.OldID, r.ID.String(), r.Email, r.Username, r.Phone, r.FirstName, r.LastName, r.hash, r.active, r.verified, r.attempts,
		r.login, r.locked, r.created, r.updated, problems, original, r.Fault,
	}
}

// become works out what a row becomes, from the texts of its columns by our names.
func (f *file) become(key string, row map[string]*string) (r fileNote, err error) {
	r.OldID = key
	if f.source.inPlace {
		r.ID, err = uuid.Parse(key)
	} else {
		r.ID, err = uuid.NewRandom()
	}
	if err != nil {
		return r, err
	}
	if err := f.canonicalise(&r.record, texts{row["email"], row["username"], row["hashed_password"], row["phone"], row["first_name"], row["last_name"]}); err != nil {
		return r, err
	}
	r.checkID()
	switch {
	case r.Hash != nil:
		r.hash = *r.Hash
	case row["hashed_password"] != nil:
		r.hash = *row["hashed_password"]
	}
	r.active = f.truth(&r.record, "is_active", row["is_active"], true)
	r.verified = f.truth(&r.record, "is_verified", row["is_verified"], false)
	r.attempts = f.count(&r.record, "failed_login_attempts", row["failed_login_attempts"])
	r.login = f.instant(&r.record, "last_login", row["last_login"])
	r.locked = f.instant(&r.record, "locked_until", row["locked_until"])
	r.created = f.instant(&r.record, "created_at", row["created_at"])
	r.updated = f.instant(&r.record, "updated_at", row["updated_at"])
	for _, token := range tokens {
		value, held := row[token]
		switch {
		case !held || token != "refresh_tokens" && value == nil:
		case token != "refresh_tokens":
			r.report(token, tokenDropped, "", nil, nil)
		case value == nil:
			r.report(token, null, "", nil, nil)
		default:
			var list []any
			if err := decode(*value, &list); err != nil || list == nil {
				r.report(token, notAList, "", nil, nil)
			} else if len(list) > 0 {
				r.report(token, tokenDropped, strconv.Itoa(len(list)), nil, nil)
			}
		}
	}
	return r, nil
}

// absentIn reports a NULL where there is a default.
func (f *file) absentIn(r *record, name string, value *string) bool {
	origin := f.source.Columns[name]
	if value != nil {
		return false
	}
	if origin.Column != "" && absent(name) != "NULL" {
		r.report(name, null, "", nil, nil)
	}
	return true
}

func (f *file) truth(r *record, name string, value *string, usual bool) bool {
	origin := f.source.Columns[name]
	switch {
	case origin.Constant != nil:
		return *origin.Constant
	case origin.Set != "":
		return value != nil
	case f.absentIn(r, name, value):
		return usual
	}
	switch strings.ToLower(strings.TrimSpace(*value)) {
	case "true", "t", "yes", "y", "on":
		return true
	case "false", "f", "no", "n", "off":
		return false
	}
	number, err := strconv.ParseFloat(*value, 64)
	if err != nil {
		r.report(name, dropped, "is no truth value", value, nil)
		r.replaced(name, value)
		return usual
	}
	return number != 0
}

func (f *file) count(r *record, name string, value *string) int64 {
	if f.absentIn(r, name, value) {
		return 0
	}
	const most = 1<<31 - 1
	number, err := strconv.ParseInt(*value, 10, 64)
	if err != nil || number < 0 || number > most {
		r.report(name, outOfRange, "", value, nil)
	}
	return min(max(number, 0), most)
}

// forms are those in which programs store a time in SQLite. The fraction of a second may follow.
var forms = []string{
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05-07:00",
	"2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
}

// instant returns a time as the store writes it, or nil. Numbers are seconds, or milliseconds, since 1970.
func (f *file) instant(r *record, name string, value *string) *string {
	if f.absentIn(r, name, value) {
		return nil
	}
	var at time.Time
	err := errors.New("is no time")
	for _, form := range forms {
		if at, err = time.ParseInLocation(form, strings.TrimSpace(*value), f.location); err == nil {
			break
		}
	}
	if seconds, notNumber := strconv.ParseFloat(*value, 64); err != nil && notNumber == nil {
		const year5000 = 95_617_584_000 // in seconds; behind it, they are milliseconds
		if seconds > year5000 {
			seconds /= 1000
		}
		at, err = time.UnixMicro(int64(seconds*1e6)), nil
	}
	if at = at.UTC().Truncate(time.Microsecond); err != nil || at.Year() < 1 || at.Year() > 9999 {
		r.report(name, outOfRange, "", value, nil)
		r.replaced(name, value)
		return nil
	}
	text := at.Format("2006-01-02 15:04:05.999999")
	return &text
}

// decide settles collisions: in the order of preference each row is kept, unless one that is kept has its address or its username.
func (f *file) decide(ctx context.Context, notes *staging) error {
	for _, statement := range []string{
		"CREATE INDEX temp.canonical_email ON canonical (email)", "CREATE INDEX temp.canonical_username ON canonical (username)",
		"CREATE INDEX temp.canonical_phone ON canonical (phone)",
		// SQLite folds ASCII only, which the program has done already.
		"UPDATE " + notes.table + " SET decision = '" + quarantined + "', field = fault WHERE fault IS NOT NULL",
	} {
		if err := f.exec(ctx, statement); err != nil {
			return err
		}
	}
	shared := func(column string) string {
		return "SELECT old_id FROM " + notes.table + " WHERE fault IS NULL AND " + column + " IN (SELECT " + column + " FROM " + notes.table +
			" WHERE fault IS NULL GROUP BY " + column + " HAVING count(*) > 1)"
	}
	candidates, err := f.triples(ctx, "SELECT old_id, email, username FROM "+notes.table+" WHERE old_id IN ("+shared("email")+" UNION "+shared("username")+
		") ORDER BY "+notes.order())
	if err != nil {
		return err
	}
	holders := map[string]map[string]string{"email": {}, "username": {}}
	for _, row := range candidates {
		field, conflicting := "email", holders["email"][row[1]]
		if conflicting == "" {
			field, conflicting = "username", holders["username"][row[2]]
		}
		if conflicting == "" {
			holders["email"][row[1]], holders["username"][row[2]] = row[0], row[0]
			continue
		}
		if err := f.exec(ctx, "UPDATE "+notes.table+" SET decision = '"+quarantined+"', field = ?, conflicting = ? WHERE old_id = ?", field, conflicting, row[0]); err != nil {
			return err
		}
	}
	// A number alone is no reason to lose an account.
	return f.exec(ctx, "UPDATE "+notes.table+` AS c SET decision = 'without_phone', field = 'phone', conflicting = held.first
		FROM (SELECT old_id, first_value(old_id) OVER (PARTITION BY phone ORDER BY `+notes.order()+") AS first FROM "+notes.table+`
			WHERE decision IS NULL AND phone IS NOT NULL) AS held
		WHERE c.old_id = held.old_id AND held.first <> c.old_id`)
}

// references returns the rows to be quarantined to which other tables refer.
func (f *file) references(ctx context.Context, notes *staging) (problems []Problem, err error) {
	keys, err := f.triples(ctx, `SELECT m.name, k."from", coalesce(k."to", 'id') FROM sqlite_schema m, pragma_foreign_key_list(m.name) k
		WHERE m.type = 'table' AND lower(k."table") = 'users' ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		remains := ""
		if strings.EqualFold(key[0], "users") { // a row that is quarantined too goes along
			remains = " AND NOT EXISTS (SELECT 1 FROM " + notes.table + " d WHERE d.old_id = r.id AND d.decision = '" + quarantined + "')"
		}
		found, err := f.pairs(ctx, "SELECT c.old_id, count(*) FROM "+notes.table+" c JOIN users u ON u.id = c.old_id JOIN "+identifier.Quote(key[0])+" r ON r."+
			identifier.Quote(key[1])+" = u."+identifier.Quote(key[2])+" WHERE c.decision = '"+quarantined+"'"+remains+" GROUP BY 1 ORDER BY 1 LIMIT 1000")
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			problems = append(problems, Problem{Row: row[0], Field: "id", Kind: reference, Outcome: blocks, Detail: row[1] + " rows of " + key[0] + " refer to it"})
		}
	}
	return problems, nil
}

// finish records the adoption.
func (f *file) finish(ctx context.Context, summary *Summary) error {
	at := time.Now().UTC().Truncate(time.Microsecond)
	summary.Adopted, summary.At = true, &at
	if err := f.exec(ctx, "CREATE TABLE "+fileRecord+" (at datetime NOT NULL, summary json NOT NULL)"); err != nil {
		return err
	}
	return f.exec(ctx, "INSERT INTO "+fileRecord+" VALUES (?, ?)", at.Format("2006-01-02 15:04:05.999999"), encode(summary))
}

// finished returns the summary of an adoption that was recorded, or nil.
func (f *file) finished(ctx context.Context) (*Summary, error) {
	found, err := f.pairs(ctx, "SELECT name, '' FROM sqlite_schema WHERE name = '"+fileRecord+"'")
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var encoded string
	if err := f.conn.QueryRowContext(ctx, "SELECT summary FROM "+fileRecord).Scan(&encoded); err != nil {
		return nil, failure("read the adoption's record", err)
	}
	summary := new(Summary)
	return summary, decode(encoded, summary)
}

// pairs returns the rows of a query with two columns of text.
func (a *Adoption) pairs(ctx context.Context, query string, args ...any) (found [][2]string, err error) {
	triples, err := a.triples(ctx, "SELECT *, '' FROM ("+query+")", args...)
	for _, t := range triples {
		found = append(found, [2]string{t[0], t[1]})
	}
	return found, err
}

// triples returns the rows of a query with three.
func (a *Adoption) triples(ctx context.Context, query string, args ...any) (found [][3]string, err error) {
	rows, err := a.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, failure("inspect the file", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var t [3]sql.NullString
		if err := rows.Scan(&t[0], &t[1], &t[2]); err != nil {
			return nil, failure("inspect the file", err)
		}
		found = append(found, [3]string{t[0].String, t[1].String, t[2].String})
	}
	return found, failure("inspect the file", rows.Err())
}

// encode returns JSON of what always has one: texts, numbers and times.
func encode(value any) string {
	encoded, _ := json.Marshal(value)
	return string(encoded)
}

func decode(text string, into any) error { return json.Unmarshal([]byte(text), into) }
