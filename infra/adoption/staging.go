package adoption

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/identifier"
)

// staging is the table of what the rows become. It is itself the record of how far reading got: a row is in it, with the
// xmin of the version that was read, or is still to be read.
type staging struct {
	*Adoption
	table string
	kind  string
}

// sideSchema holds what an adoption needs and leaves beside the accounts.
const sideSchema = "accounts_adoption"

// batch is how many rows are read at a time.
const batch = 2000

// create makes the table unless an earlier run did. What that one noted under other options is thrown away.
func (s *staging) create(ctx context.Context) error {
	if s.table == sideSchema+".canonical" {
		if err := s.exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+sideSchema); err != nil {
			return err
		}
	}
	if err := s.exec(ctx, "CREATE "+s.kind+" IF NOT EXISTS "+s.table+` (
		old_id text COLLATE "C" PRIMARY KEY,
		source_xmin text NOT NULL,
		id uuid NOT NULL,
		email text COLLATE "C",
		username text COLLATE "C",
		phone text COLLATE "C",
		first_name text,
		last_name text,
		hash text,
		created_at timestamptz,
		problems jsonb NOT NULL,
		original jsonb,
		fault text,
		decision text,     -- quarantined, or without_phone
		field text,       -- for which it is so
		conflicting text        -- the row that is kept instead
	)`); err != nil {
		return err
	}
	choices, err := json.Marshal(struct {
		Mapping *Mapping
		Zone    string
	}{s.source.Mapping, s.source.zone})
	if err != nil {
		return err
	}
	var before sql.NullString
	if err := s.conn.QueryRowContext(ctx, "SELECT obj_description(to_regclass($1), 'pg_class')", s.table).Scan(&before); err != nil {
		return failure("read the notes", err)
	}
	if before.String == string(choices) {
		return nil
	}
	if err := s.exec(ctx, "TRUNCATE "+s.table); err != nil {
		return err
	}
	return s.exec(ctx, "COMMENT ON TABLE "+s.table+" IS "+escaped(string(choices)))
}

// escaped is a literal of any text.
func escaped(text string) string { return "E" + literal(strings.ReplaceAll(text, `\`, `\\`)) }

// fill reads the rows that have not been read as they are now, and tells whether there were any, or notes of rows that are
// no more.
func (s *staging) fill(ctx context.Context) (changed bool, err error) {
	outdated, err := s.conn.ExecContext(ctx, "DELETE FROM "+s.table+" c WHERE NOT EXISTS (SELECT 1 FROM "+s.source.name+" u WHERE "+s.joined()+
		" AND u.xmin::text = c.source_xmin)")
	if err != nil {
		return false, failure("compare the notes with the rows", err)
	}
	deleted, err := outdated.RowsAffected()
	if err != nil {
		return false, err
	}
	var total, done int64
	if err := s.conn.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM "+s.source.name+"), (SELECT count(*) FROM "+s.table+")").
		Scan(&total, &done); err != nil {
		return false, failure("count the rows", err)
	}
	if done == total {
		return deleted > 0, nil
	}
	return true, s.fillFrom(ctx, done, total)
}

func (s *staging) fillFrom(ctx context.Context, done, total int64) error {
	// The table grows faster than its statistics, by which a hash of all of it might seem cheap.
	for _, setting := range []string{"SET enable_hashjoin = off", "SET enable_mergejoin = off"} {
		if err := s.exec(ctx, setting); err != nil {
			return err
		}
	}
	var last *string
	for {
		records, err := s.read(ctx, last)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			break
		}
		if err := s.note(ctx, records); err != nil {
			return err
		}
		last = &records[len(records)-1].OldID
		done += int64(len(records))
		if s.options.Progress != nil {
			s.options.Progress(done, max(total, done))
		}
	}
	for _, setting := range []string{"RESET enable_hashjoin", "RESET enable_mergejoin"} {
		if err := s.exec(ctx, setting); err != nil {
			return err
		}
	}
	return s.exec(ctx, "ANALYZE "+s.table)
}

// read returns the next rows after a key.
func (s *staging) read(ctx context.Context, after *string) (_ []record, err error) {
	from := s.source
	key := identifier.Quote(from.key())
	stored := func(name string) string {
		if from.Columns[name].Column == "" {
			return "NULL"
		}
		return text("u.", from.Columns[name].Column)
	}
	created := "NULL"
	if _, ok := from.Columns["created_at"]; ok {
		created = "nullif(" + from.value("u.", "created_at") + ", CURRENT_TIMESTAMP)::text"
	}
	next, args := "", []any{}
	if after != nil {
		next, args = "u."+key+" > $1::text::"+from.types[from.key()]+" AND ", []any{*after}
	}
	rows, err := s.conn.QueryContext(ctx, "SELECT "+text("u.", from.key())+", u.xmin::text, "+stored("email")+", "+stored("username")+", "+
		stored("hashed_password")+", "+stored("phone")+", "+stored("first_name")+", "+stored("last_name")+", "+created+", "+
		from.remarks("u.")+" FROM "+from.name+" u WHERE "+next+
		"NOT EXISTS (SELECT 1 FROM "+s.table+" c WHERE c.old_id = "+text("u.", from.key())+") ORDER BY u."+key+fmt.Sprintf(" LIMIT %d", batch), args...)
	if err != nil {
		return nil, failure("read the rows", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var records []record
	for rows.Next() {
		var r record
		var row texts
		var remarks string
		if err := rows.Scan(&r.OldID, &r.Xmin, &row.email, &row.username, &row.hash, &row.phone, &row.first, &row.last,
			&r.CreatedAt, &remarks); err != nil {
			return nil, failure("read the rows", err)
		}
		if r.ID, err = s.newID(r.OldID); err != nil {
			return nil, err
		}
		if err := s.canonicalise(&r, row); err != nil { //nolint:contextcheck // hashes are parsed under an ended one, so that none is computed
			return nil, err
		}
		r.checkID()
		r.remark(remarks)
		records = append(records, r)
	}
	return records, failure("read the rows", rows.Err())
}

func (s *staging) newID(old string) (uuid.UUID, error) {
	if s.source.types[s.source.key()] == "uuid" {
		return uuid.Parse(old)
	}
	return uuid.NewRandom()
}

func (s *staging) note(ctx context.Context, records []record) error {
	encoded, err := json.Marshal(records)
	if err != nil {
		return err
	}
	return s.exec(ctx, "INSERT INTO "+s.table+" SELECT * FROM json_populate_recordset(NULL::"+s.table+", $1::json)", string(encoded))
}

// decide chooses which rows are kept.
func (s *staging) decide(ctx context.Context) error {
	statements := []string{
		"UPDATE " + s.table + " SET decision = NULL, field = NULL, conflicting = NULL WHERE decision IS NOT NULL",
		// The database folds by its own tables and locale; what it would fold further its check refuses.
		"UPDATE " + s.table + ` SET fault = 'email' WHERE fault IS NULL
			AND (email <> lower(email COLLATE "default") OR email IS NOT NFC NORMALIZED)`,
		"UPDATE " + s.table + ` SET fault = 'username' WHERE fault IS NULL
			AND (username <> lower(username COLLATE "default") OR username IS NOT NFC NORMALIZED)`,
		"UPDATE " + s.table + " SET decision = '" + quarantined + "', field = fault WHERE fault IS NOT NULL",
		"DROP TABLE IF EXISTS pg_temp.candidates",
		"CREATE TEMPORARY TABLE candidates AS WITH shared AS (" + s.shared("email") + " UNION " + s.shared("username") + `)
			SELECT old_id, email, username, false AS chosen, row_number() OVER (ORDER BY ` + s.order() + `) AS rank
			FROM shared JOIN ` + s.table + " USING (old_id)",
		"CREATE INDEX ON candidates (email)", "CREATE INDEX ON candidates (username)", "ANALYZE candidates",
	}
	for _, statement := range statements {
		if err := s.exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := s.resolveCollisions(ctx); err != nil {
		return err
	}
	// A number alone is no reason to lose an account.
	return s.exec(ctx, "UPDATE "+s.table+` c SET decision = 'without_phone', field = 'phone', conflicting = first
		FROM (SELECT old_id, first_value(old_id) OVER (PARTITION BY phone ORDER BY `+s.order()+") AS first FROM "+s.table+`
			WHERE decision IS NULL AND phone IN (SELECT phone FROM `+s.table+` WHERE decision IS NULL AND phone IS NOT NULL
				GROUP BY phone HAVING count(*) > 1)) held
		WHERE c.old_id = held.old_id AND held.first <> c.old_id`)
}

// shared selects the rows whose column is as in another row.
func (s *staging) shared(column string) string {
	return "SELECT c.old_id FROM " + s.table + " c JOIN (SELECT " + column + " FROM " + s.table + " WHERE fault IS NULL GROUP BY " + column +
		" HAVING count(*) > 1) AS many USING (" + column + ") WHERE c.fault IS NULL"
}

// order is that of preference. Without a rule it only decides which side of a collision is reported.
func (s *staging) order() string {
	direction := "ASC"
	if s.options.OnCollision == Newest {
		direction = "DESC"
	}
	return "created_at " + direction + " NULLS LAST, old_id"
}

// resolveCollisions keeps, of those not yet decided, the ones that come first for both their address and their username; those
// that share either with them are quarantined; and so on until all are decided. That is what going through them one by one in
// the order of preference would give, in as many statements as the longest chain of collisions has links.
func (s *staging) resolveCollisions(ctx context.Context) error {
	for {
		if _, err := s.conn.ExecContext(ctx, `UPDATE candidates a SET chosen = true WHERE NOT chosen
			AND NOT EXISTS (SELECT 1 FROM candidates b WHERE b.email = a.email AND b.rank < a.rank)
			AND NOT EXISTS (SELECT 1 FROM candidates b WHERE b.username = a.username AND b.rank < a.rank)`); err != nil {
			return failure("settle collisions", err)
		}
		for _, field := range []string{"email", "username"} {
			if err := s.exec(ctx, "WITH refused AS (DELETE FROM candidates a USING candidates b WHERE b.chosen AND NOT a.chosen AND a."+field+" = b."+field+
				" RETURNING a.old_id, b.old_id AS conflicting) UPDATE "+s.table+" c SET decision = '"+quarantined+"', field = '"+field+
				"', conflicting = refused.conflicting FROM refused WHERE c.old_id = refused.old_id"); err != nil {
				return err
			}
		}
		var open bool
		if err := s.conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM candidates WHERE NOT chosen)").Scan(&open); err != nil {
			return failure("settle collisions", err)
		}
		if !open {
			return s.exec(ctx, "DROP TABLE candidates")
		}
	}
}

// summarise tells of the rows and counts.
func (s *staging) summarise(ctx context.Context, each func(Problem) error) (Summary, error) {
	summary := Summary{Table: s.source.Table, Problems: make(map[string]int64), Version: s.target.version}
	if s.source.naive() != "" {
		summary.Zone = s.source.zone
	}
	var affected int64
	if err := s.conn.QueryRowContext(ctx, "SELECT count(*), count(*) FILTER (WHERE decision = '"+quarantined+"'), count(decision) FROM "+
		s.table).Scan(&summary.Rows, &summary.Quarantined, &affected); err != nil {
		return summary, failure("count the rows", err)
	}
	summary.Kept = summary.Rows - summary.Quarantined
	if s.options.OnCollision == Fail {
		summary.Blocking = affected
	}
	err := s.report(ctx, func(p Problem) error {
		summary.Problems[p.Kind]++
		if each == nil {
			return nil
		}
		return each(p)
	})
	if err != nil {
		return summary, err
	}
	references, err := s.references(ctx)
	for _, p := range references {
		summary.Problems[p.Kind]++
		summary.Blocking++
		if each != nil {
			err = errors.Join(err, each(p))
		}
	}
	return summary, err
}

// report calls each with what was noted, by the order of the keys' texts.
func (s *staging) report(ctx context.Context, each func(Problem) error) (err error) {
	if each == nil {
		return nil
	}
	rows, err := s.conn.QueryContext(ctx, `SELECT c.old_id, c.problems, coalesce(c.decision, ''), coalesce(c.field, ''),
		coalesce(c.conflicting, ''), CASE c.field WHEN 'email' THEN coalesce(c.original->>'email', c.email)
		WHEN 'username' THEN coalesce(c.original->>'username', c.username) ELSE c.phone END,
		CASE c.field WHEN 'email' THEN c.email WHEN 'username' THEN c.username ELSE c.phone END
		FROM `+s.table+" c WHERE c.problems <> '[]' OR c.decision IS NOT NULL ORDER BY c.old_id")
	if err != nil {
		return failure("read the notes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row, noted, decision, field, conflicting string
		var value, form *string
		if err := rows.Scan(&row, &noted, &decision, &field, &conflicting, &value, &form); err != nil {
			return failure("read the notes", err)
		}
		problems, err := decodeProblems(noted)
		if err != nil {
			return err
		}
		outcome := kept
		if decision != "" {
			outcome = s.outcome(decision)
			if decision == quarantined {
				problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Kind != invalid })
			}
			if conflicting != "" {
				problems = append(problems, Problem{Field: field, Kind: collision, With: conflicting, Value: shown(value), Becomes: shown(form)})
			} else if len(problems) == 0 {
				problems = append(problems, Problem{Field: field, Kind: invalid, Detail: "the database folds it in another way", Value: shown(value)})
			}
		}
		for _, p := range problems {
			p.Row, p.Outcome = row, outcome
			if decision == "without_phone" && p.Kind != collision {
				p.Outcome = kept
			}
			if err := each(p); err != nil {
				return err
			}
		}
	}
	return failure("read the notes", rows.Err())
}

func (s *staging) outcome(decision string) string {
	switch {
	case s.options.OnCollision == Fail:
		return blocks
	case decision == quarantined:
		return quarantined
	}
	return dropped
}

// references returns the rows to be quarantined to which other tables, or rows that are kept, refer. Deleting those would delete, or break, what
// belongs to somebody.
func (s *staging) references(ctx context.Context) (_ []Problem, err error) {
	if !s.source.inPlace {
		return nil, nil
	}
	if s.file != nil {
		return s.file.references(ctx, s)
	}
	keys, err := s.foreignKeys(ctx)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, key := range keys {
		remains := ""
		if key.own { // a row that is quarantined too goes along
			remains = " AND NOT EXISTS (SELECT FROM " + s.table + " d WHERE d.old_id = " + text("r.", s.source.key()) + " AND d.decision = '" + quarantined + "')"
		}
		rows, err := s.conn.QueryContext(ctx, "SELECT c.old_id, count(*) FROM "+key.table+" r JOIN "+s.source.name+" u ON "+key.join+
			" JOIN "+s.table+" c ON c.old_id = "+text("u.", s.source.key())+" WHERE c.decision = '"+quarantined+"'"+remains+" GROUP BY 1 ORDER BY 1 LIMIT 1000")
		if err != nil {
			return nil, failure("look for references", err)
		}
		for rows.Next() {
			p := Problem{Field: "id", Kind: reference, Outcome: blocks}
			var n int64
			if err := rows.Scan(&p.Row, &n); err != nil {
				return nil, errors.Join(failure("look for references", err), rows.Close())
			}
			p.Detail = fmt.Sprintf("%d rows of %s refer to it", n, key.table)
			problems = append(problems, p)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, failure("look for references", err)
		}
	}
	return problems, nil
}

// foreignKey is one that refers to the table.
type foreignKey struct {
	table string
	join  string // of its rows r to those of the table, u
	own   bool   // of the table itself
}

func (s *staging) foreignKeys(ctx context.Context) (_ []foreignKey, err error) {
	rows, err := s.conn.QueryContext(ctx, `SELECT f.conrelid::regclass::text,
		(SELECT string_agg(format('r.%I = u.%I', a.attname, b.attname), ' AND ')
			FROM unnest(f.conkey, f.confkey) AS k(own, other)
			JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.own
			JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.other),
		f.conrelid = f.confrelid
		FROM pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0 AND f.confrelid = to_regclass($1)
		ORDER BY 1`, s.source.name)
	if err != nil {
		return nil, failure("look for references", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var keys []foreignKey
	for rows.Next() {
		var key foreignKey
		if err := rows.Scan(&key.table, &key.join, &key.own); err != nil {
			return nil, failure("look for references", err)
		}
		keys = append(keys, key)
	}
	return keys, failure("look for references", rows.Err())
}

// blockedBy returns the refusal of going on with the rows as they were decided, or nil.
func (s *staging) blockedBy(ctx context.Context) error {
	var affected int64
	if err := s.conn.QueryRowContext(ctx, "SELECT count(decision) FROM "+s.table).Scan(&affected); err != nil {
		return failure("count the rows", err)
	}
	if affected > 0 && s.options.OnCollision == Fail {
		return blocked{refuse(domain.ErrConflict, "", fmt.Sprintf(
			"%d rows cannot be kept as they are; nothing was changed. Correct them, or quarantine them with --on-collision newest or oldest", affected))}
	}
	references, err := s.references(ctx)
	if err == nil && len(references) > 0 {
		err = blocked{refuse(domain.ErrConflict, "", "rows that are kept refer to accounts that would be quarantined; nothing was changed. "+
			"Let their rows refer to the accounts that are kept")}
	}
	return err
}
