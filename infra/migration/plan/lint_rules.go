package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/softbee/accounts/infra/migration/internal/script"
)

// rule is something to look for in the events of a statement.
type rule struct {
	code, safer string // safer may be left out where another rule of the same code has it
	dialect     string // empty means both
	kind        string // of the object, one or several with ", " between them
	what        string // happened to it, one or several
	fresh       bool   // also if the object's table was made by the same file
	finds       func(l *linting, s *step, e event) (reason string)
}

// Some things can only be seen in the text.
var (
	isConcurrent  = regexp.MustCompile(`(?i)\bCONCURRENTLY\b`)
	validates     = regexp.MustCompile(`(?i)\bVALIDATE\s+CONSTRAINT\b`)
	truncates     = regexp.MustCompile(`(?i)\bTRUNCATE\b`)
	locks         = regexp.MustCompile(`(?i)^\s*LOCK\b`)
	renames       = regexp.MustCompile(`(?i)\bRENAME\b`)
	block         = regexp.MustCompile(`(?i)^\s*DO\b`)
	commits       = regexp.MustCompile(`(?i)\bCOMMIT\b`)
	inserts       = regexp.MustCompile(`(?i)^\s*INSERT\b`)
	explainable   = regexp.MustCompile(`(?i)^\s*(UPDATE|DELETE|INSERT|MERGE|WITH)\b`)
	writesIn      = regexp.MustCompile(`(?i)\b(?:UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+(?:ONLY\s+)?((?:"[^"]+"|\w+)\.)?("[^"]+"|\w+)`)
	deletesAll    = regexp.MustCompile(`(?i)^\s*DELETE\s+FROM\s+([^\s;]+)\s*;?\s*$`)
	setsTimeout   = regexp.MustCompile(`(?i)^\s*SET\s+((LOCAL|SESSION)\s+)?\w+_timeout\b`) // it changes no catalog
	dropsDatabase = regexp.MustCompile(`(?i)^\s*DROP\s+DATABASE\b`)
	quoted        = regexp.MustCompile(`(?s)'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/`)
	word          = regexp.MustCompile(`"[^"]*"|\w+`)
	literal       = regexp.MustCompile(`(?i)^([+-]?[\d.]+|'([^']|'')*'|x'[\da-f]*'|null|true|false|)$`)
)

// longestLockTimeout is the limit of strong_migrations, in milliseconds.
const longestLockTimeout = 10_000

// longestName is NAMEDATALEN of PostgreSQL, less the byte that ends it.
const longestName = 63

const (
	inBatches  = "change rows in batches, each in its own transaction, in a file that begins with -- atlas:txmode none and an empty line"
	notInUse   = "keep it until no release in use knows it, then silence this"
	aFileAlone = ", in a file of its own that begins with -- atlas:txmode none and an empty line"
	notValid   = "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in the next transaction"
	stepwise   = "make the new one beside the old one, and change over in several releases"
)

// says returns a finder for whatever the rest of the rule admits. {name} stands for the object's name, {table} for its table's.
func says(reason string) func(*linting, *step, event) string {
	return func(l *linting, s *step, e event) string {
		o := e.object()
		return strings.NewReplacer("{name}", fmt.Sprintf("%q", o.name), "{table}", l.table(s, o)).Replace(reason)
	}
}

// sayIf is says with a condition.
func sayIf(reason string, holds func(l *linting, s *step, e event) bool) func(*linting, *step, event) string {
	say := says(reason)
	return func(l *linting, s *step, e event) string {
		if !holds(l, s, e) {
			return ""
		}
		return say(l, s, e)
	}
}

var rules = []rule{
	// Data is lost.
	{"DS101", notInUse, "", "schema", dropped, false, says("Dropping schema {name} with all that is in it")},
	{"DS102", notInUse, "", "table", dropped, false, sayIf("Dropping table {table}", func(_ *linting, s *step, _ event) bool { return !s.rebuilt })},
	{"DS103", "stop using the column in one release and drop it in the next, then silence this", "", "column", dropped, false,
		says("Dropping column {name} of table {table}")},
	{"DS104", "see that the rows are not needed, then silence this", "", "table", emptied, false, says("Deleting all rows of table {table}")},
	{"DS104", "", Postgres, "table", changed, false, sayIf("Deleting all rows of table {table}", func(_ *linting, s *step, e event) bool {
		return e.changes("storage") && truncates.MatchString(s.statement.Text)
	})},
	{"DS105", "leave databases to those who run the server", Postgres, "statement", executed, false,
		sayIf("Dropping a database; this statement was not executed", func(_ *linting, s *step, _ event) bool {
			return dropsDatabase.MatchString(s.statement.Text)
		})},

	// The statement fails on some data.
	{"MF101", "look for duplicates first; build it with CREATE UNIQUE INDEX CONCURRENTLY, which leaves the table usable if there are any",
		"", "index", added, false, sayIf("Index {name} fails if rows of table {table} have equal values", mayHaveDuplicates)},
	{"MF103", "add the column nullable or with a constant default, fill it in batches, then make it NOT NULL by a validated check",
		"", "column", added, false, sayIf("Column {name} is NOT NULL without a default, which fails if table {table} has rows", func(_ *linting, s *step, e event) bool {
			a := e.to.attrs
			return !s.rebuilt && a["null"] == "false" && a["default"] == "" && a["computed"] == ""
		})},
	{"MF104", "make the table again, as accounts migrate diff plans it", SQLite, "column", added, false,
		sayIf("Column {name} has a default that is computed, which fails if table {table} has rows", func(_ *linting, s *step, e event) bool {
			return !s.rebuilt && !literal.MatchString(e.to.attrs["default"])
		})},
	{"MF105", "look for rows that violate it first, then silence this", SQLite, "check", "added changed replaced", false,
		sayIf("Check {name} fails if rows of table {table} violate it", func(l *linting, _ *step, e event) bool {
			_, old := l.start.find(func(o object) bool {
				return o.kind == "column" && o.parent == e.to.parent &&
					regexp.MustCompile(`(?i)\b`+regexp.QuoteMeta(o.name)+`\b`).MatchString(e.to.attrs["definition"])
			})
			return old
		})},
	{"LT101", "fill the column before, or give it a default", SQLite, "column", changed, false,
		sayIf("Column {name} of table {table} becomes NOT NULL, and its rows were not filled", func(l *linting, _ *step, e event) bool {
			return e.changes("null") && e.to.attrs["null"] == "false" && e.to.attrs["default"] == "" && !l.isFilled(e.from)
		})},

	// The running release looks for what is no longer there.
	{"BC101", stepwise, "", "table", renamed, false, says("Table {table} gets a new name or schema, and the running release looks for the old one")},
	{"BC102", "add the new column, write both, fill it in batches, and drop the old column in a later release", "", "column", renamed, false,
		says("Column {name} of table {table} gets a new name, and the running release looks for the old one")},
	{"BC103", stepwise, Postgres, "schema", renamed, false, says("Schema {name} gets a new name, and the running release looks for the old one")},
	{"BC104", "add the new value, write it, change the rows in batches, and leave the old one", Postgres, "enum value", renamed, false,
		says("Value {name} gets a new name, and the running release writes the old one")},
	{"BC105", notInUse, "", "view, materialized view, function, sequence, type", "dropped renamed", false,
		func(l *linting, s *step, e event) string {
			if l.isReplaced(e.from) {
				return ""
			}
			return fmt.Sprintf("The %s %s is %s, and the running release may use it", e.from.kind, l.table(s, e.from), e.what)
		}},
	{"BC106", "see that no release in use relies on it, then silence this", "", "column", changed, false,
		sayIf("Column {name} of table {table} may be NULL from here on, and the running release may not expect that", func(_ *linting, _ *step, e event) bool {
			return e.changes("null") && e.to.attrs["null"] == "true"
		})},
	{"BC106", "", "", "column", changed, false,
		sayIf("Column {name} of table {table} loses its default, and the running release may rely on it", func(_ *linting, _ *step, e event) bool {
			return e.changes("default") && e.to.attrs["default"] == "" || e.changes("computed") && e.to.attrs["computed"] == ""
		})},
	{"BC106", "", "", "index", "dropped replaced", false,
		sayIf("Nothing keeps rows with equal values apart without index {name} of table {table}, and the running release may rely on it", func(l *linting, _ *step, e event) bool {
			return e.from.attrs["unique"] == "true" && !keepsApart(l.end, e.from.parent, e.from.columns(), e.from.attrs["where"])
		})},
	{"BC106", "", "", "check", dropped, false,
		sayIf("Nothing refuses bad rows without check {name} of table {table}, and the running release may rely on it", func(l *linting, _ *step, e event) bool {
			return !l.provedOtherwise(e.from)
		})},
	{"BC107", "see that no release in use is stopped or let in by it, then silence this", Postgres, "table", changed, false,
		sayIf("Owner or row level security of table {table} changes, and with it what roles may see", func(_ *linting, _ *step, e event) bool { return e.changes("rows") })},
	{"BC107", "", Postgres, "policy", "dropped changed replaced", false, says("Policy {name} of table {table} changes what roles may see")},
	{"BC107", "", Postgres, "right", dropped, false, says("The right {name} on {table} is taken away")},
	{"BC108", "see that no release in use relies on it, then silence this", "", "trigger", "dropped changed", false,
		func(l *linting, s *step, e event) string {
			if e.what == dropped && l.isReplaced(e.from) || e.what == changed && e.to.attrs["enabled"] != "D" {
				return ""
			}
			return says("Trigger {name} is dropped or disabled, and the running release may rely on it")(l, s, e)
		}},
	{"CD101", "see that nothing relies on the foreign key, then silence this", "", "foreign key", dropped, false,
		sayIf("Dropping foreign key {name} of table {table}", func(l *linting, _ *step, e event) bool { return !l.isReplaced(e.from) })},

	// An index is built or dropped while a table waits.
	{"PG101", "CREATE INDEX CONCURRENTLY" + aFileAlone + "; a constraint then takes it with UNIQUE USING INDEX", Postgres, "index", "added replaced", false,
		sayIf("Building index {name} while writes to table {table} wait", func(_ *linting, s *step, e event) bool {
			return e.to.attrs["constraint"] != "p" && e.to.attrs["constraint"] != "x" && s.builds(e)
		})},
	{"PG102", "DROP INDEX CONCURRENTLY IF EXISTS" + aFileAlone, Postgres, "index", dropped, false,
		sayIf("Dropping index {name} while all use of table {table} waits", func(_ *linting, s *step, e event) bool {
			return e.from.attrs["constraint"] == "" && !isConcurrent.MatchString(s.statement.Text)
		})},
	{"PG103", "begin the file with -- atlas:txmode none and an empty line", Postgres, "statement", executed, false,
		sayIf("This statement cannot run in a transaction, and the file is one", func(_ *linting, s *step, _ event) bool { return s.refused })},
	{"PG104", "CREATE UNIQUE INDEX CONCURRENTLY, then ALTER TABLE … ADD PRIMARY KEY USING INDEX", Postgres, "index", "added replaced", false,
		sayIf("Building the primary key {name} while all use of table {table} waits", func(_ *linting, s *step, e event) bool {
			return e.to.attrs["constraint"] == "p" && s.builds(e)
		})},
	{"PG105", "REINDEX … CONCURRENTLY" + aFileAlone, Postgres, "index", changed, false,
		sayIf("Building index {name} again while writes to table {table} wait", func(_ *linting, s *step, e event) bool {
			return e.changes("storage") && !s.rewrites(e.from.parent)
		})},
	{"PG106", "there is no other way: do it when the table is not needed, or make a new table", Postgres, "index", "added replaced", false,
		sayIf("Building exclusion constraint {name} while all use of table {table} waits", func(_ *linting, s *step, e event) bool {
			return e.to.attrs["constraint"] == "x" && s.builds(e)
		})},

	// All rows are written or read while a table waits.
	{"PG301", "add a column of the new type, write both, fill it in batches, and drop the old column in a later release",
		Postgres, "table", changed, false, sayIf("Writing table {table} again, for the new type of a column, while all use of it waits", func(_ *linting, s *step, e event) bool {
			return s.rewrites(e.from.id) && !s.computes(e.from.id) && s.retypes(e.from.id)
		})},
	{"PG301", "", Postgres, "index", replaced, false,
		sayIf("Building index {name} again, for the new type of a column, while writes to table {table} wait", func(_ *linting, s *step, e event) bool {
			return e.changes("storage") && s.retypes(e.from.parent) && !s.rewrites(e.from.parent)
		})},
	{"PG302", "add the column without a default, SET DEFAULT in a second statement, and fill the old rows in batches",
		Postgres, "table", changed, false, sayIf("A value that is computed for each row writes table {table} again while all use of it waits", func(_ *linting, s *step, e event) bool {
			return s.rewrites(e.from.id) && s.computes(e.from.id)
		})},
	{"PG303", "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID; VALIDATE CONSTRAINT in the next transaction; then SET NOT NULL, " +
		"which relies on it, and drop the check", Postgres, "column", changed, false,
		sayIf("Looking for NULL in all rows of column {name} while all use of table {table} waits", func(_ *linting, s *step, e event) bool {
			return e.changes("null") && e.to.attrs["null"] == "false" && s.read[e.from.parent]
		})},
	{"PG305", notValid, Postgres, "check", "added replaced", false,
		sayIf("Checking all rows against {name} while all use of table {table} waits", func(_ *linting, s *step, e event) bool {
			return e.to.attrs["valid"] == "true" && (s.read[e.to.parent] || s.from[e.to.parent].kind == "type") && !s.retypesAlong(e)
		})},
	{"PG306", notValid, Postgres, "foreign key", "added replaced", false,
		sayIf("Checking all rows against {name} while writes to table {table} wait", func(_ *linting, s *step, e event) bool {
			return e.to.attrs["valid"] == "true" && s.read[e.to.parent] && !s.retypesAlong(e) && !s.addsEmpty(e.to)
		})},
	{"PG307", "leave the space to VACUUM, or use pg_repack or pg_squeeze", Postgres, "table", changed, false,
		sayIf("Writing table {table} again while all use of it waits", func(_ *linting, s *step, e event) bool {
			return s.rewrites(e.from.id) && !s.computes(e.from.id) && !s.retypes(e.from.id) && !truncates.MatchString(s.statement.Text)
		})},
	{"PG308", "REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index", Postgres, "materialized view", changed, false,
		sayIf("Filling materialized view {table} while its readers wait", func(_ *linting, _ *step, e event) bool { return e.changes("storage") })},
	{"PG309", "DETACH PARTITION … CONCURRENTLY" + aFileAlone, Postgres, "partition", dropped, false,
		sayIf("Detaching partition {name} while all use of table {table} waits", func(_ *linting, s *step, e event) bool {
			_, kept := s.to[e.from.attrs["table"]]
			return kept && !isConcurrent.MatchString(s.statement.Text)
		})},

	// Locks, transactions, order.
	{"AC101", "SET LOCAL lock_timeout = '5s' before it (in a file without a transaction: SET lock_timeout)", Postgres, "table, materialized view", locked, false,
		func(l *linting, s *step, e event) string {
			switch {
			case s.lockTimeout == 0:
				return says("Waiting for a lock on table {table} without a lock_timeout: all who come later wait behind it")(l, s, e)
			case s.lockTimeout > longestLockTimeout:
				return says("Waiting for a lock on table {table} for more than 10 s: all who come later wait behind it")(l, s, e)
			}
			return ""
		}},
	{"AC102", "to rename, add the new column, write both, fill it in batches, and drop the old one in a later release; if the two have " +
		"nothing to do with each other, do it in two files", "", "column", dropped, false,
		func(l *linting, s *step, e event) string {
			twin, ok := l.end.find(func(o object) bool {
				_, old := l.start[o.id]
				return !old && o.kind == "column" && o.parent == e.from.parent && o.attrs["type"] == e.from.attrs["type"]
			})
			if !ok {
				return ""
			}
			return fmt.Sprintf("Dropping column %q and adding %q of the same type: if it is a new name, the values are lost", e.from.name, twin.name)
		}},
	{"AC103", "do it in a file of its own", Postgres, "statement", executed, false,
		sayIf("Reading or changing all rows of a table while the file holds a lock that stops writes", func(l *linting, s *step, _ event) bool {
			held := l.heldBefore(s) != ""
			did := func(what string) bool {
				return slices.ContainsFunc(s.events, func(e event) bool { return e.what == what && l.inUse(s, e) })
			}
			return held && validates.MatchString(s.statement.Text) || did(written) && (held || did(locked))
		})},
	{"AC104", "begin the file with -- atlas:delimiter and end the statements with that delimiter", "", "", "", false, nil}, // see splitDifferently
	{"AC105", inBatches, Postgres, "table", written, false,
		says("Changing rows of table {table} in one statement keeps each of them locked until the last one is done")},
	{"AC106", "leave the transaction to the program that runs the file, or begin the file with -- atlas:txmode none and an empty line", "", "statement", executed, false,
		func(l *linting, s *step, _ event) string {
			switch {
			case !controlsTransaction(s.statement.Text):
			case l.file.Transactional:
				return "The file is one transaction, and this statement begins or ends one"
			case script.Begins(s.statement.Text) && l.open && l.lastBegin() == s:
				return "This transaction is not ended"
			}
			return ""
		}},
	{"AC107", "there is seldom a need for it: statements take the locks that they need", Postgres, "table", locked, false,
		sayIf("Locking table {table} until the transaction ends", func(_ *linting, s *step, _ event) bool { return locks.MatchString(s.statement.Text) })},
	{"AC108", "leave IF NOT EXISTS out: accounts migrate up begins again by itself", Postgres, "statement", executed, false,
		sayIf("IF NOT EXISTS takes an index that an interrupted run has left, and that is not valid, for the finished one", func(_ *linting, s *step, _ event) bool {
			match := script.CreatesConcurrently.FindStringSubmatch(s.statement.Text)
			return match != nil && match[2] != ""
		})},
	{"AC109", "write it so that it can be repeated: IF EXISTS, IF NOT EXISTS, ON CONFLICT DO NOTHING, DROP CONSTRAINT IF EXISTS before ADD CONSTRAINT",
		"", "statement", executed, false, func(_ *linting, s *step, _ event) string {
			if s.unrepeatable == "" {
				return ""
			}
			return "In a file without a transaction, a runner that is killed begins again with this statement, which " + s.unrepeatable
		}},
	{"AC110", "one file for each table", Postgres, "table", locked, false,
		func(l *linting, s *step, e event) string {
			held := l.heldBefore(s)
			if held == "" {
				return ""
			}
			return fmt.Sprintf("Waiting for a lock on table %s while the file holds one on table %s that stops writes", l.table(s, e.from), held)
		}},
	{"AC111", "build an index on its columns before", Postgres, "foreign key", "added replaced", true,
		sayIf("No index finds the rows of foreign key {name} of table {table}, so that each DELETE of what it refers to reads all of them", func(l *linting, _ *step, e event) bool {
			_, served := l.end.find(func(o object) bool {
				columns := o.columns()
				n := len(e.to.columns())
				return o.kind == "index" && o.parent == e.to.parent && o.attrs["where"] == "" && len(columns) >= n && covers(e.to.columns(), columns[:n])
			})
			_, kept := l.end[e.to.id]
			return kept && !served
		})},
	{"AC112", "choose a shorter name", Postgres, "statement", executed, false,
		func(_ *linting, s *step, _ event) string {
			for _, name := range word.FindAllString(quoted.ReplaceAllString(s.statement.Text, ""), -1) {
				if name = strings.Trim(name, `"`); len(name) > longestName {
					return fmt.Sprintf("PostgreSQL cuts the name %q off after %d bytes", name, longestName)
				}
			}
			return ""
		}},
}

// safer returns what to do instead.
func safer(code string) string {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.code == code && r.safer != "" })
	return strings.Replace(rules[i].safer, "silence this", "silence this with -- atlas:nolint "+code, 1)
}

// rewrites reports whether the statement writes a table to a new place.
func (s *step) rewrites(table string) bool {
	was, is := s.from[table], s.to[table]
	return is.id != "" && was.attrs["storage"] != is.attrs["storage"]
}

// retypes reports whether the statement changes the type of a column.
func (s *step) retypes(table string) bool {
	return slices.ContainsFunc(s.events, func(e event) bool {
		return e.what == changed && e.from.kind == "column" && e.from.parent == table && (e.changes("type") || e.changes("collation"))
	})
}

// computes reports whether the statement adds a column with a value.
func (s *step) computes(table string) bool {
	return slices.ContainsFunc(s.events, func(e event) bool {
		return e.what == added && e.to.kind == "column" && e.to.parent == table && e.to.attrs["default"]+e.to.attrs["computed"] != ""
	})
}

// builds reports whether the statement builds an index, other than for the new type of a column, while its table waits.
func (s *step) builds(e event) bool {
	return e.changes("storage") && !isConcurrent.MatchString(s.statement.Text) && (e.what == added || !s.retypes(e.to.parent))
}

// retypesAlong reports whether a constraint is only made again along with a table that is written again, which is reported.
func (s *step) retypesAlong(e event) bool {
	return e.what == replaced && slices.ContainsFunc(s.events, func(e event) bool {
		return e.what == changed && e.from.kind == "table" && s.rewrites(e.from.id)
	})
}

// addsEmpty reports whether the statement adds the columns of a foreign key, which are NULL, so that PostgreSQL does not
// look at them.
func (s *step) addsEmpty(key object) bool {
	return !slices.ContainsFunc(key.columns(), func(column string) bool {
		return !slices.ContainsFunc(s.events, func(e event) bool {
			return e.what == added && e.to.kind == "column" && e.to.parent == key.parent && e.to.name == column && !s.computes(key.parent)
		})
	})
}

// heldBefore returns the name of a table in use on which a statement before holds a lock that stops writes.
func (l *linting) heldBefore(s *step) string {
	table, ok := l.start.find(func(o object) bool { return s.held[o.id] })
	if !ok {
		return ""
	}
	return l.table(s, table)
}

// controlsTransaction tells whether a statement begins or ends a transaction.
func controlsTransaction(statement string) bool {
	return script.Begins(statement) || script.Ends(statement)
}

func (l *linting) lastBegin() (last *step) {
	for _, s := range l.steps {
		if script.Begins(s.statement.Text) {
			last = s
		}
	}
	return last
}

// isReplaced reports whether the file leaves another object of the same kind and name.
func (l *linting) isReplaced(was object) bool {
	_, ok := l.end.find(func(o object) bool { return o.kind == was.kind && o.name == was.name && o.parent == was.parent })
	return ok
}

// provedOtherwise reports whether a check that was dropped has said no more than that a column which now is NOT NULL is so,
// or has another one in its place.
func (l *linting) provedOtherwise(check object) bool {
	_, ok := l.end.find(func(o object) bool {
		return o.parent == check.parent && (o.kind == "check" && (o.name == check.name || o.attrs["definition"] == check.attrs["definition"]) ||
			o.kind == "column" && o.attrs["null"] == "false" && check.attrs["columns"] == o.name &&
				strings.HasPrefix(check.attrs["definition"], "CHECK ((") && strings.Contains(check.attrs["definition"], " IS NOT NULL))"))
	})
	return ok
}

// mayHaveDuplicates reports whether a unique index is on columns that were there before and that nothing has kept unique.
func mayHaveDuplicates(l *linting, _ *step, e event) bool {
	i := e.to
	_, old := l.start.find(func(o object) bool {
		return o.kind == "column" && o.parent == i.parent && slices.ContainsFunc(i.columns(), func(c string) bool {
			return regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(o.name) + `($|\W)`).MatchString(c)
		})
	})
	return old && i.attrs["unique"] == "true" && !keepsApart(l.start, i.parent, i.columns(), i.attrs["where"])
}

// keepsApart reports whether a unique index of the table admits no two rows with equal columns.
func keepsApart(c catalog, table string, columns []string, where string) bool {
	_, ok := c.find(func(o object) bool {
		return o.kind == "index" && o.parent == table && o.attrs["unique"] == "true" && (o.attrs["where"] == "" || o.attrs["where"] == where) &&
			covers(o.columns(), columns)
	})
	return ok
}

// covers reports whether all columns of the first list are in the second.
func covers(some, all []string) bool {
	return !slices.ContainsFunc(some, func(c string) bool { return !slices.Contains(all, c) })
}
