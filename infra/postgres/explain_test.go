package postgres

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/domain/entry"
)

// visitAll are the methods that are documented to visit every account.
var visitAll = map[string]bool{"CountSessions": true}

// lists are the ways to read a page, beside the plain one in calls.
var lists = map[string]domain.ListQuery{
	"by e-mail":                     {Order: domain.OrderEmail},
	"by username":                   {Order: domain.OrderUsername},
	"by time, active":               {Filter: domain.Filter{Active: new(true)}},
	"by e-mail, not verified":       {Order: domain.OrderEmail, Filter: domain.Filter{Verified: new(false)}},
	"by time, created in a range":   {Filter: domain.Filter{CreatedFrom: filledFrom.Add(time.Hour), CreatedBefore: filledFrom.Add(2 * time.Hour)}},
	"by e-mail, created in a range": {Order: domain.OrderEmail, Filter: domain.Filter{CreatedFrom: filledFrom.Add(time.Hour), CreatedBefore: filledFrom.Add(2 * time.Hour)}},
	"by time, found":                {Filter: domain.Filter{Search: prefix("user99")}},
	"by e-mail, found":              {Order: domain.OrderEmail, Filter: domain.Filter{Search: prefix("user99")}},
	"by username, found":            {Order: domain.OrderUsername, Filter: domain.Filter{Search: prefix("user99")}},

	"by time, the newest first":     {Descending: true},
	"by e-mail, the last first":     {Order: domain.OrderEmail, Descending: true},
	"by username, the last first":   {Order: domain.OrderUsername, Descending: true},
	"by sign-in":                    {Order: domain.OrderLastLogin},
	"by sign-in, the last first":    {Order: domain.OrderLastLogin, Descending: true},
	"by sign-in, in a range":        {Order: domain.OrderLastLogin, Filter: domain.Filter{SignedInFrom: filledFrom.Add(time.Hour), SignedInBefore: filledFrom.Add(20 * time.Hour)}},
	"by time, signed in before":     {Filter: domain.Filter{SignedInBefore: filledFrom.Add(20 * time.Hour)}},
	"by time, never signed in":      {Filter: domain.Filter{SignedIn: new(false)}},
	"by time, not locked":           {Filter: domain.Filter{Locked: new(false)}},
	"by time, with a password":      {Filter: domain.Filter{WithPassword: new(true), WithPhone: new(false), WithIdentity: new(false)}},
	"by time, long unverified":      {Filter: domain.Filter{UnverifiedSince: time.Now()}},
	"by time, name found":           {Filter: domain.Filter{Name: namePrefix("ro")}},
	"by username, name found":       {Order: domain.OrderUsername, Descending: true, Filter: domain.Filter{Name: namePrefix("ro")}},
	"by time, domain found":         {Filter: domain.Filter{Domain: mailDomain("d7.example")}},
	"by time, domain found, newest": {Descending: true, Filter: domain.Filter{Domain: mailDomain("d7.example")}},
	"by e-mail, domain found":       {Order: domain.OrderEmail, Filter: domain.Filter{Domain: mailDomain("d7.example")}},
}

// TestQueriesUseIndexes explains each statement that a method sends, as it was sent, with the plan for any arguments and with
// the one for its own. With ACCOUNTS_TEST_LONG=1 it does so in a larger table.
func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	n := 10_000
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		n = 100_000
	}
	address := migrated(t)
	db := open(t, address)
	fill(t, db, n)
	mustExec(t, db, `INSERT INTO users (id, email, username, hashed_password, last_name, last_login, created_at)
		SELECT md5('n' || i)::uuid, 'n' || i || '@d' || i % 10 || '.example', 'named' || i, '!', CASE WHEN i % 2 = 0 THEN 'Roa' || i END, made, made
		FROM generate_series(1, 1000) AS i, LATERAL (SELECT $1::timestamptz + i * interval '1 min' AS made) AS m`, filledFrom)
	for _, statement := range optionalIndexes(t) {
		mustExec(t, db, statement)
	}
	store, statements := recorded(t, address)

	sent := make(map[string][]statement)
	for name, call := range calls {
		a := newAccount(t, store)
		if call.before != nil {
			if err := call.before(a); err != nil {
				t.Fatal(err)
			}
		}
		statements.take()
		_ = call.run(a) // another test sees to its outcome
		sent[name] = statements.take()
	}
	for name, query := range lists {
		first, err := store.List(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Count(t.Context(), query.Filter); err != nil {
			t.Fatal(err)
		}
		sent["List "+name] = statements.take()[:1]
		if query.After = first.Next; query.After.IsZero() {
			t.Fatalf("%s: there is one page only", name)
		}
		if _, err := store.List(t.Context(), query); err != nil {
			t.Fatal(err)
		}
		sent["List "+name+", next page"] = statements.take()
	}
	mustExec(t, db, "VACUUM ANALYZE users")

	for _, name := range slices.Sorted(maps.Keys(sent)) {
		for _, statement := range sent[name] {
			for _, mode := range []string{"force_generic_plan", "force_custom_plan"} {
				p := explain(t, db, mode, statement)
				for _, scan := range p.scans() {
					if scan.NodeType == "Seq Scan" && !visitAll[name] {
						t.Errorf("%s reads the whole table (%s):\n%s\n%s", name, mode, statement.text, p)
					}
					if strings.Contains(name, "found") && scan.Cond == "" && scan.NodeType != "Bitmap Heap Scan" {
						t.Errorf("%s reads a whole index (%s):\n%s\n%s", name, mode, statement.text, p)
					}
				}
			}
		}
	}
}

// optionalIndexes are the statements of docs/lists.md for PostgreSQL.
func optionalIndexes(t testing.TB) []string {
	t.Helper()
	document, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	var statements []string
	for line := range strings.Lines(string(document)) {
		if strings.HasPrefix(line, "CREATE INDEX CONCURRENTLY ") {
			statements = append(statements, strings.TrimSuffix(line, ";\n"))
		}
	}
	if len(statements) != 4 {
		t.Fatalf("docs/lists.md has %d indexes: %q", len(statements), statements)
	}
	return statements
}

// plan is a node of what EXPLAIN (FORMAT JSON) returns.
type plan struct {
	NodeType string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Cond     string  `json:"Index Cond"`
	Cost     float64 `json:"Total Cost"`
	Plans    []plan
}

func (p plan) String() string {
	text := fmt.Sprintf("%s %s %s %s (%.0f)\n", p.NodeType, p.Relation, p.Index, p.Cond, p.Cost)
	for _, child := range p.Plans {
		text += "  " + strings.ReplaceAll(strings.TrimSuffix(child.String(), "\n"), "\n", "\n  ") + "\n"
	}
	return text
}

// scans returns the nodes that read the table or its indexes.
func (p plan) scans() []plan {
	var found []plan
	if (p.Relation == "users" || p.Relation == "identities") && strings.Contains(p.NodeType, "Scan") || p.NodeType == "Bitmap Index Scan" {
		found = append(found, p)
	}
	for _, child := range p.Plans {
		found = append(found, child.scans()...)
	}
	return found
}

func explain(t testing.TB, db *sql.DB, mode string, s statement) plan {
	t.Helper()
	literals := make([]string, len(s.args))
	for i, arg := range s.args {
		literals[i] = literal(t, arg)
	}
	execute := "EXECUTE explained"
	if len(literals) > 0 {
		execute += " (" + strings.Join(literals, ", ") + ")"
	}
	mustExec(t, db, "SET plan_cache_mode = "+mode)
	mustExec(t, db, "PREPARE explained AS "+s.text)
	var text []byte
	if err := db.QueryRow("EXPLAIN (FORMAT JSON) " + execute).Scan(&text); err != nil {
		t.Fatalf("%v: %s", err, s.text)
	}
	mustExec(t, db, "DEALLOCATE explained")
	var explained []struct{ Plan plan }
	if err := json.Unmarshal(text, &explained); err != nil {
		t.Fatal(err)
	}
	return explained[0].Plan
}

// literal is an argument in the text of a statement.
func literal(t testing.TB, arg any) string {
	t.Helper()
	value, err := driver.DefaultParameterConverter.ConvertValue(arg)
	if err != nil {
		t.Fatal(err)
	}
	switch v := value.(type) {
	case nil:
		return "NULL"
	case time.Time:
		return pq.QuoteLiteral(v.Format(time.RFC3339Nano))
	case []byte:
		return pq.QuoteLiteral(string(v))
	default:
		return pq.QuoteLiteral(fmt.Sprint(v))
	}
}

// filledFrom is when the first account was made that fill stores, each of the others a second later.
var filledFrom = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// fill stores n accounts, user1 to userN, with two sessions each, and brings the statistics up to date.
func fill(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	at := func(d time.Duration) string { return entry.Time(time.Now().Add(d)) }
	const session = `$2 || '.' || left(md5(i || '%[1]d') || md5(i || '.'), 22) || '.' || md5(i || '%[1]d!') || left(md5(i || '%[1]d?'), 11)
		|| '.' || $3 || '.' || $2 || '.' || $3`
	mustExec(t, db, `INSERT INTO users (id, email, username, hashed_password, refresh_tokens, created_at, updated_at)
		SELECT md5(i::text)::uuid, 'user' || i || '@example.org', 'user' || i, $4,
			jsonb_build_array(`+fmt.Sprintf(session, 1)+`, `+fmt.Sprintf(session, 2)+`), made, made
		FROM generate_series(1, $1::int) AS i, LATERAL (SELECT $5::timestamptz + i * interval '1 s' AS made) AS m`,
		n, at(24*time.Hour), at(-time.Hour), passwordHash(t, "a").Stored(), filledFrom)
	mustExec(t, db, "VACUUM ANALYZE users")
}

func namePrefix(text string) domain.NamePrefix {
	p, err := domain.ParseNamePrefix(text)
	if err != nil {
		panic(err)
	}
	return p
}

func mailDomain(text string) domain.MailDomain {
	d, err := domain.ParseMailDomain(text)
	if err != nil {
		panic(err)
	}
	return d
}

func prefix(text string) domain.Prefix {
	p, err := domain.ParsePrefix(text)
	if err != nil {
		panic(err)
	}
	return p
}
