package adoption

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ariga.io/atlas/sql/schema"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/internal/identifier"
)

// source is the table that is taken over.
type source struct {
	*Mapping
	inPlace bool
	schema  string            // in which it is
	name    string            // qualified and quoted
	types   map[string]string // of its columns, as format_type writes them
	live    *schema.Table
	zone    string
}

// readSource inspects the table and fits the mapping to it.
func (a *Adoption) readSource(ctx context.Context) (*source, error) {
	s := &source{Mapping: a.options.Mapping, schema: a.schema, zone: a.options.Zone, inPlace: a.options.Mapping == nil}
	if s.zone == "" {
		s.zone = "UTC"
	}
	table := "users"
	if s.Mapping != nil {
		table = s.Table
	}
	var encoding string
	if err := a.conn.QueryRowContext(ctx, "SELECT current_setting('server_encoding')").Scan(&encoding); err != nil {
		return nil, failure("inspect the database", err)
	}
	if encoding != "UTF8" {
		return nil, refuse(domain.ErrConflict, "", "the database's encoding is "+encoding+"; accounts need UTF8")
	}
	s.name = identifier.Quote(s.schema) + "." + identifier.Quote(table)
	if err := a.readColumns(ctx, s, table); err != nil {
		return nil, err
	}
	found, err := a.driver.InspectSchema(ctx, "", &schema.InspectOptions{Tables: []string{table}})
	if err != nil {
		return nil, failure("inspect the table", err)
	}
	live, ok := found.Table(table)
	if !ok {
		return nil, refuse(domain.ErrNotFound, "", "there is no table "+table)
	}
	s.live = live
	if s.Mapping == nil {
		s.Mapping = predecessor(slices.Collect(maps.Keys(s.types)))
	}
	if err := s.fit(); err != nil {
		return nil, err
	}
	a.Obstacles, err = a.obstacles(ctx, s)
	return s, err
}

func (a *Adoption) readColumns(ctx context.Context, s *source, table string) (err error) {
	var kind string
	err = a.conn.QueryRowContext(ctx, "SELECT relkind FROM pg_class WHERE oid = to_regclass($1)", s.name).Scan(&kind)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return refuse(domain.ErrNotFound, "", "there is no table "+table)
	case err != nil:
		return failure("inspect the table", err)
	case kind != "r":
		return refuse(domain.ErrInvalid, "", table+" is not an ordinary table")
	}
	rows, err := a.conn.QueryContext(ctx, `SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, s.name)
	if err != nil {
		return failure("inspect the table", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	s.types = make(map[string]string)
	for rows.Next() {
		var name, format string
		if err := rows.Scan(&name, &format); err != nil {
			return err
		}
		s.types[name] = format
	}
	return rows.Err()
}

// fit checks that the table has the columns of the mapping, in types that can be converted.
func (s *source) fit() error {
	for _, required := range []string{"id", "email", "username", "hashed_password"} {
		if _, ok := s.Columns[required]; !ok {
			return refuse(domain.ErrInvalid, "map", "is needed: table "+s.Table+" has no column "+required)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Columns)) {
		origin := s.Columns[name]
		column := origin.Column + origin.Set
		if column == "" {
			continue
		}
		format, ok := s.types[column]
		if !ok {
			return refuse(domain.ErrInvalid, "map", "names column "+column+", which table "+s.Table+" does not have")
		}
		if origin.Set == "" && !convertible(mappable[name], format) {
			return refuse(domain.ErrInvalid, "map", "takes "+name+" from "+column+", whose type "+format+" cannot be converted")
		}
	}
	key := s.live.PrimaryKey
	if key == nil || len(key.Parts) != 1 || key.Parts[0].C == nil || key.Parts[0].C.Name != s.key() {
		return refuse(domain.ErrInvalid, "map", s.key()+" is not the primary key of table "+s.Table)
	}
	if s.inPlace && s.types["id"] != "uuid" {
		return refuse(domain.ErrInvalid, "map", "is needed: the keys of table "+s.Table+" are of type "+s.types["id"]+", not uuid")
	}
	return nil
}

func convertible(kind int, format string) bool {
	switch kind {
	case truth:
		return format == "boolean" || isInteger(format)
	case count:
		return isInteger(format)
	case instant:
		return isNaive(format) || format == "timestamp with time zone"
	}
	return true // everything has a text
}

func isInteger(format string) bool {
	return format == "smallint" || format == "integer" || format == "bigint"
}

// isNaive tells whether a type holds times without a zone.
func isNaive(format string) bool {
	return format == "timestamp without time zone" || format == "date"
}

// naive returns the first column that holds times without a zone, or "".
func (s *source) naive() string {
	for _, name := range slices.Sorted(maps.Keys(s.Columns)) {
		if mappable[name] == instant && isNaive(s.types[s.Columns[name].Column]) {
			return s.Columns[name].Column
		}
	}
	return ""
}

// key returns the primary key's column.
func (s *source) key() string { return s.Columns["id"].Column }

// text returns the SQL of a column's text under an alias. Texts are compared byte by byte, whatever collation the table has.
func text(alias, column string) string {
	return "(" + alias + identifier.Quote(column) + `::text COLLATE "C")`
}

// value returns the SQL of what one of this program's columns is to hold, from the columns of the table under an alias.
// That of the texts, which are not converted in SQL, is their text as it is.
func (s *source) value(alias, name string) string {
	origin := s.Columns[name]
	switch {
	case origin.Constant != nil:
		return strconv.FormatBool(*origin.Constant)
	case origin.Set != "":
		return "(" + alias + identifier.Quote(origin.Set) + " IS NOT NULL)"
	case origin.Column == "":
		return absent(name)
	}
	column := alias + identifier.Quote(origin.Column)
	switch mappable[name] {
	case truth:
		if s.types[origin.Column] != "boolean" {
			column = "(" + column + " <> 0)"
		}
		return "coalesce(" + column + ", " + absent(name) + ")"
	case count:
		return "least(greatest(coalesce(" + column + ", 0), 0), 2147483647)::integer"
	case instant:
		// Outside of these years, and at infinity, there are no times in Go, nor in RFC 3339.
		value := "CASE WHEN " + column + " >= '0001-01-02' AND " + column + " < '9999-12-31' THEN " + s.zoned(column, origin.Column) + " END"
		if absent(name) == "NULL" {
			return value
		}
		return "coalesce(" + value + ", " + absent(name) + ")"
	}
	return text(alias, origin.Column)
}

func (s *source) zoned(column, name string) string {
	switch s.types[name] {
	case "date":
		return column + "::timestamp AT TIME ZONE " + literal(s.zone)
	case "timestamp without time zone":
		return column + " AT TIME ZONE " + literal(s.zone)
	}
	return column
}

// absent is what a column holds where the table says nothing.
func absent(name string) string {
	switch name {
	case "is_active":
		return "true"
	case "is_verified":
		return "false"
	case "failed_login_attempts", "phone_code_attempts":
		return "0"
	case "refresh_tokens":
		return "'[]'::jsonb"
	case "version":
		return "1"
	case "created_at", "updated_at":
		return "CURRENT_TIMESTAMP"
	}
	return "NULL"
}

// remarks returns the SQL of an array of "field problem detail", one for each thing that [source.value] changes beyond the
// type.
func (s *source) remarks(alias string) string {
	var cases []string
	note := func(condition, field, problem string) {
		cases = append(cases, "CASE WHEN "+condition+" THEN '"+field+" "+problem+"' END")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Columns)) {
		origin := s.Columns[name]
		column := alias + identifier.Quote(origin.Column)
		kind := mappable[name]
		if origin.Column == "" || kind == textual {
			continue
		}
		if absent(name) != "NULL" {
			note(column+" IS NULL", name, null)
		}
		if kind == instant {
			note(column+" < '0001-01-02' OR "+column+" >= '9999-12-31'", name, outOfRange)
		}
		if kind == count {
			note(column+" < 0 OR "+column+" > 2147483647", name, outOfRange)
		}
	}
	if s.inPlace {
		for _, name := range tokens {
			if _, ok := s.types[name]; ok && name != "refresh_tokens" && !strings.HasSuffix(name, "expiry") {
				note(alias+identifier.Quote(name)+" IS NOT NULL", name, tokenDropped)
			}
		}
		cases = append(cases, s.listRemark(alias)...)
	}
	if len(cases) == 0 {
		return "''"
	}
	return "array_to_string(ARRAY[" + strings.Join(cases, ", ") + "], ',')"
}

// listRemark tells of a list of refresh tokens that is none, or not empty.
func (s *source) listRemark(alias string) []string {
	format, ok := s.types["refresh_tokens"]
	if !ok {
		return nil
	}
	column := alias + `"refresh_tokens"`
	if format != "json" && format != "jsonb" {
		return []string{"CASE WHEN " + column + " IS NULL THEN 'refresh_tokens " + null + "' ELSE 'refresh_tokens " + tokenDropped + "' END"}
	}
	return []string{fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN 'refresh_tokens %[2]s' WHEN %[3]s_typeof(%[1]s) <> 'array' "+
		"THEN 'refresh_tokens %[4]s ' || %[3]s_typeof(%[1]s) WHEN %[3]s_array_length(%[1]s) > 0 "+
		"THEN 'refresh_tokens %[5]s ' || %[3]s_array_length(%[1]s) END", column, null, format, notAList, tokenDropped)}
}

// others returns the columns that this program does not know. In place they stay.
func (s *source) others() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.types)) {
		if s.inPlace && !taken(name) {
			names = append(names, name)
		}
	}
	return names
}

// literal is for what has been checked already: the names of zones.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (a *Adoption) checkZone(ctx context.Context) error {
	if a.options.Zone == "" || a.options.Zone == "UTC" {
		return nil // the server would read the files of all zones to know that there is UTC
	}
	var known bool
	err := a.conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_timezone_names WHERE name = $1)", a.options.Zone).Scan(&known)
	if err != nil {
		return failure("look up the time zone", err)
	}
	if !known {
		return refuse(domain.ErrInvalid, "zone", "is not an IANA name that the server knows, such as America/Bogota or UTC")
	}
	return nil
}

func (a *Adoption) exec(ctx context.Context, statement string, args ...any) error {
	_, err := a.conn.ExecContext(ctx, statement, args...)
	return failure("adopt", err)
}

func (a *Adoption) exists(ctx context.Context, name string) (exists bool, err error) {
	err = a.conn.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", name).Scan(&exists)
	return exists, failure("inspect the database", err)
}
