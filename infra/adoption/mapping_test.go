package adoption_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/adoption"
)

func mapping(t *testing.T, file string) *adoption.Mapping {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := adoption.ParseMapping(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseMappingRefuses(t *testing.T) {
	t.Parallel()
	const rest = `"id": "id", "email": "e", "username": "u", "hashed_password": "p"`
	for _, text := range []string{
		``, `[]`, `{"table": "x"}`, `{"columns": {` + rest + `}}`, `{"table": "x", "columns": {"id": "id"}}`,
		`{"table": "x", "columns": {` + rest + `, "color": "c"}}`,
		`{"table": "x", "columns": {` + rest + `, "refresh_tokens": "c"}}`,
		`{"table": "x", "columns": {` + rest + `, "is_active": {}}}`,
		`{"table": "x", "columns": {` + rest + `, "is_active": {"column": "a", "constant": true}}}`,
		`{"table": "x", "columns": {` + rest + `, "is_active": {"colum": "a"}}}`,
		`{"table": "x", "columns": {` + rest + `, "created_at": {"set": "a"}}}`,
		`{"table": "x", "columns": {` + rest + `, "phone": {"constant": true}}}`,
		`{"table": "x", "columns": {` + rest + `, "phone": {"generate": true}}}`,
		`{"table": "x", "columns": {` + rest + `}} {}`,
		`{"table": "x", "columns": {` + rest + `}, "zone": "UTC"}`,
	} {
		if _, err := adoption.ParseMapping(strings.NewReader(text)); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%s: %v; want invalid", text, err)
		}
	}
	for _, before := range []string{"", "\ufeff"} {
		if _, err := adoption.ParseMapping(strings.NewReader(before + `{"table": "x", "columns": {` + rest + `}}`)); err != nil {
			t.Error(err)
		}
	}
}

func TestMappingMustFitTheTable(t *testing.T) {
	t.Parallel()
	store := laid(t, "testdata/django.sql")
	change := func(name string, origin adoption.Origin) *adoption.Mapping {
		m := mapping(t, "testdata/django.json")
		m.Columns[name] = origin
		return m
	}
	none := mapping(t, "testdata/django.json")
	none.Table = "people"
	for want, m := range map[string]*adoption.Mapping{
		"which table auth_user does not have": change("phone", adoption.Origin{Column: "telephone"}),
		"cannot be converted":                 change("created_at", adoption.Origin{Column: "username"}),
		"is not the primary key":              change("id", adoption.Origin{Column: "username"}),
		"there is no table people":            none,
		"there is no table users":             nil,
	} {
		a, err := adoption.Inspect(t.Context(), store.DB(), dialectOf(store), adoption.Options{Mapping: m, Hasher: hasher(t)})
		if err == nil {
			_ = a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || domain.KindOf(err) == "" {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// adopt adopts, and demands that the database is as declared afterwards.
func adopt(t *testing.T, store *infra.Store, options adoption.Options) (adoption.Summary, report) {
	t.Helper()
	summary, problems := takeOver(t, store, options)
	checkMigrated(t, store)
	return summary, problems
}

// takeOver adopts a table that another test adopts, too, and compares with the declared schema.
func takeOver(t *testing.T, store *infra.Store, options adoption.Options) (adoption.Summary, report) {
	t.Helper()
	problems := make(report)
	a := inspect(t, store, options)
	summary, err := a.Adopt(t.Context(), problems.add)
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	return summary, problems
}

func TestAdoptDjango(t *testing.T) {
	t.Parallel()
	store := laid(t, "testdata/django.sql")
	db := store.DB()
	// Django's own form: PBKDF2 of "correct horse" with 1,000,000 rounds is dear, so one of its other schemes signs in.
	mustExec(t, db, "UPDATE auth_user SET password = $1 WHERE id = 1", "bcrypt$$"+"2b$10$emvnU9TXofJnBi/vNQKXKeliOe/BZE9kL2ryBYUhJJXhX0IGbVG7q")
	summary, problems := adopt(t, store, adoption.Options{
		Mapping: mapping(t, "testdata/django.json"), OnCollision: adoption.Oldest,
	})
	if summary.Rows != 4 || summary.Kept != 3 || summary.Zone != "" {
		t.Errorf("summary: %+v", summary)
	}
	problems.want(t, [][4]string{
		{"1", "username", "canonicalised", "kept"},
		{"2", "username", "generated", "kept"},
		{"2", "hashed_password", "no_password", "kept"},
		{"3", "hashed_password", "unknown_hash", "kept"},
		{"3", "first_name", "too_long", "kept"},
		{"4", "email", "invalid", "quarantined"},
	})

	email, err := domain.ParseEmail("ada@colmena.org")
	if err != nil {
		t.Fatal(err)
	}
	ada, err := store.FindByEmail(t.Context(), email)
	if err != nil {
		t.Fatal(err)
	}
	if ada.Username().String() != "admin" || ada.FirstName() != "Ada" || ada.LastName() != "" || !ada.IsActive() || ada.IsVerified() ||
		!ada.CreatedAt().Equal(time.Date(2025, 2, 1, 4, 30, 0, 0, time.UTC)) ||
		!ada.LastLogin().Equal(time.Date(2026, 5, 3, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("ada: %+v", ada.State())
	}
	if _, err := newAuthenticator(t, store).Authenticate(t.Context(), "Admin", "pw-luisg2-5796"); err != nil {
		t.Errorf("ada does not sign in: %v", err)
	}

	// Django's tables are as they were, and the way from them to the new ids is known.
	if n := query[int](t, db, "SELECT count(*) FROM auth_user"); n != 4 {
		t.Errorf("%d rows are left in Django's table", n)
	}
	if n := query[int](t, db, `SELECT count(*) FROM apiary a JOIN accounts_adoption.origin o ON o.old_id = a.owner_id::text
		JOIN users u ON u.id = o.id JOIN auth_user d ON d.id = a.owner_id AND lower(d.email) = u.email`); n != 3 {
		t.Errorf("%d apiaries find their owners; want 3", n)
	}
	if first := query[string](t, db, "SELECT original->>'first_name' FROM accounts_adoption.origin WHERE old_id = '3'"); len(first) != 60 {
		t.Errorf("what was cut is lost: %q", first)
	}
}

func TestAdoptFlaskSecurity(t *testing.T) {
	t.Parallel()
	store := laid(t, "testdata/flask_security.sql")
	db := store.DB()
	mustExec(t, db, `UPDATE "user" SET password = $1 WHERE id IN (1, 2, 3)`, "$2b$10$emvnU9TXofJnBi/vNQKXKeliOe/BZE9kL2ryBYUhJJXhX0IGbVG7q")
	summary, problems := adopt(t, store, adoption.Options{
		Mapping: mapping(t, "testdata/flask_security.json"), OnCollision: adoption.Newest, Zone: "America/Bogota",
	})
	if summary.Kept != 3 || summary.Quarantined != 1 || summary.Zone != "America/Bogota" {
		t.Errorf("summary: %+v", summary)
	}
	problems.want(t, [][4]string{
		{"1", "email", "collision", "quarantined"},
		{"2", "phone", "collision", "dropped"},
		{"4", "phone", "not_international", "kept"},
		{"4", "hashed_password", "no_password", "kept"},
		{"4", "last_login", "out_of_range", "kept"},
	})
	for username, want := range map[string]string{
		"dora2": "dora@colmena.org  true false 2026-01-02 15:00:00",
		"emil":  "emil@colmena.org +34600000001 true false 2026-01-03 15:00:00",
		"fay":   "fay@colmena.org 600 000 002 false true 2026-01-04 15:00:00",
	} {
		got := query[string](t, db, `SELECT format('%s %s %s %s %s', email, phone, is_active::text, is_verified::text,
			(created_at AT TIME ZONE 'UTC')::text) FROM users WHERE username = $1`, username)
		if got != want {
			t.Errorf("%s: %s; want %s", username, got, want)
		}
	}
	if phone := query[string](t, db, "SELECT original->>'phone' FROM accounts_adoption.origin WHERE old_id = '2'"); phone != "+34600000001" {
		t.Errorf("the number that another account has is lost: %q", phone)
	}
	if _, err := newAuthenticator(t, store).Authenticate(t.Context(), "emil@colmena.org", "pw-luisg2-5796"); err != nil {
		t.Errorf("emil does not sign in: %v", err)
	}
}

// TestAdoptTableOfTheSameName moves a table users with other keys out of the way.
func TestAdoptTableOfTheSameName(t *testing.T) {
	t.Parallel()
	store := laid(t, "testdata/flask_security.sql")
	mustExec(t, store.DB(), `ALTER TABLE "user" RENAME TO users; CREATE TABLE post (author integer REFERENCES users); INSERT INTO post VALUES (3)`)
	if _, err := adoption.Inspect(t.Context(), store.DB(), dialectOf(store), adoption.Options{Hasher: hasher(t)}); !errors.Is(err, domain.ErrInvalid) {
		t.Errorf("without a mapping: %v; want invalid", err)
	}
	m := mapping(t, "testdata/flask_security.json")
	m.Table = "users"
	summary, _ := adopt(t, store, adoption.Options{Mapping: m, OnCollision: adoption.Oldest, Zone: "UTC"})
	if summary.Kept != 3 {
		t.Errorf("summary: %+v", summary)
	}
	if n := query[int](t, store.DB(), "SELECT count(*) FROM accounts_adoption.users JOIN post ON id = author"); n != 1 {
		t.Error("the old table does not have its rows and references")
	}
}
