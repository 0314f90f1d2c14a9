package infra_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

func created(t testing.TB, store *infra.Store, name string) *domain.User {
	t.Helper()
	u := storetest.NewUser(t, name)
	if err := store.Create(context.Background(), u); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPlainInsertGivesACompleteRow(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		before := time.Now().Add(-2 * time.Second)
		if _, err := store.DB().Exec("INSERT INTO users (email, username, hashed_password) VALUES ('a@x.org', 'ana', '$2b$10$hash')"); err != nil {
			t.Fatal(err)
		}
		email, _ := domain.ParseEmail("A@X.org")
		u, err := store.FindByEmail(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		if u.ID().IsZero() || u.ID().UUID().Version() != 4 || !u.IsActive() || u.IsVerified() || u.Version() != 1 ||
			u.FailedLoginAttempts() != 0 || len(u.Sessions(time.Now())) != 0 || !u.LastLogin().IsZero() {
			t.Errorf("the row lacks defaults: %#v", u.State())
		}
		for _, at := range []time.Time{u.CreatedAt(), u.UpdatedAt()} {
			if at.Before(before) || at.After(time.Now().Add(2*time.Second)) || at.Location() != time.UTC {
				t.Errorf("time %v is not the present in UTC", at)
			}
		}
		if _, err := store.IssueToken(t.Context(), u.ID(), domain.SessionPolicy{}); err != nil {
			t.Errorf("the row cannot be worked with: %v", err)
		}
	})
}

func TestDatabaseRefusesWhatIsNotCanonical(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		created(t, store, "ana")
		refusesInserts(t, store, map[string]string{
			"capitals in the address":  "'Ana@example.org', 'other', 'h'",
			"capitals in the username": "'other@example.org', 'Ana', 'h'",
			"the same address":         "'ana@example.org', 'other', 'h'",
			"the same username":        "'other@example.org', 'ana', 'h'",
		})
	})
}

// TestDatabaseRefusesWhatCannotBeRead: what a check can say cannot be stored, and no list has to report it.
func TestDatabaseRefusesWhatCannotBeRead(t *testing.T) {
	const blob = "CAST('x' AS blob)"
	type values = map[string][]string // by column
	times := func(table string, columns ...string) values {
		refused := values{}
		for _, column := range columns {
			refused[table+"."+column] = []string{
				blob, "CAST('2026-01-01 00:00:00' AS blob)", "'2026-02-30 00:00:00'", "'2026-01-01 24:00:00'", "'2026-01-01T00:00:00Z'", "2460000.5", "1700000000", "'0000-01-01 00:00:00'", "''",
			}
		}
		return refused
	}
	both := values{
		"users.hashed_password": {"''"}, "users.username": {"''"}, "users.email": {"'no-at'", "'@b'", "'a@'"}, "users.pending_email": {"'no-at'", "''"},
		"users.version": {"0", "-1", "9223372036854775807"}, "users.failed_login_attempts": {"-1", "2147483648"}, "users.phone_code_attempts": {"-1", "2147483648"},
		"users.id":             {"'00000000-0000-0000-0000-000000000000'"},
		"users.reset_token":    {"''", "'short'", "'" + strings.Repeat("g", 64) + "'", "'" + strings.Repeat("A", 64) + "'"},
		"users.refresh_tokens": {"'{}'", "'null'", "'7'"},
		"identities.issuer":    {"''"}, "identities.subject": {"''"}, "account_events.kind": {"''"},
	}
	both["users.verification_token"], both["users.phone_code"] = both["users.reset_token"], both["users.reset_token"]
	ofSQLite := values{
		"users.id":        {"'0123456789abcdef0123456789abcdef----'", "'------------------------------------'", "'ABCDEF00-0000-4000-8000-000000000000'", "x'00'", "'x'", "1"},
		"users.is_active": {"2", "'yes'", "0.5", blob}, "users.is_verified": {"2", "'yes'", "-1", blob},
		"users.version": {"1.5", "'many'", blob}, "users.failed_login_attempts": {"1.5", "'many'", blob}, "users.phone_code_attempts": {"1.5", "'many'", blob},
		"users.refresh_tokens": {"CAST('[]' AS blob)", "jsonb('[]')", "'['"},
		"users.email":          {"CAST('b@example.org' AS blob)"}, "users.pending_email": {"CAST('b@example.org' AS blob)"}, "users.username": {blob},
		"users.hashed_password": {blob}, "users.first_name": {blob}, "users.last_name": {blob}, "users.phone": {blob},
		"users.reset_token": {"CAST('" + strings.Repeat("a", 64) + "' AS blob)"},
		"identities.issuer": {blob}, "identities.subject": {blob}, "account_events.kind": {blob}, "account_events.account_id": {blob, "'x'"},
		"account_events.request_id": {blob}, "account_events.client": {blob}, "account_events.actor": {blob},
	}
	for _, of := range []values{
		times("users", "last_login", "locked_until", "reset_token_expiry", "verification_token_expiry", "phone_code_expiry", "phone_verified_at", "created_at", "updated_at"),
		times("identities", "created_at", "last_used_at"), times("account_events", "occurred_at"),
	} {
		maps.Copy(ofSQLite, of)
	}
	ofPostgres := values{"users.refresh_tokens": {"'[1]'", "'[null]'", `'["x", {}]'`, "'[[]]'", "'[true]'"}}
	for column := range times("users", "last_login", "locked_until", "reset_token_expiry", "verification_token_expiry", "phone_code_expiry", "phone_verified_at", "created_at", "updated_at") {
		ofPostgres[column] = []string{"'infinity'", "'-infinity'", "'10000-01-01'", "'0001-12-31 BC'"}
	}
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ana := created(t, store, "ana")
		own := ofPostgres
		if store.Schema() == "" {
			own = ofSQLite
		}
		rows := map[string]map[string]string{
			"users":          {"email": "'b@example.org'", "username": "'bob'", "hashed_password": "'!'"},
			"identities":     {"user_id": "'" + ana.ID().String() + "'", "issuer": "'https://id.example'", "subject": "'1'"},
			"account_events": {"account_id": "'" + ana.ID().String() + "'", "kind": "'registered'"},
		}
		insert := func(table, column, value string) error {
			row := maps.Clone(rows[table])
			if column != "" {
				row[column] = value
			}
			names := slices.Sorted(maps.Keys(row))
			places := make([]string, len(names))
			for i, name := range names {
				places[i] = row[name]
			}
			tx, err := store.DB().BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec("INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")")
			return errors.Join(err, tx.Rollback())
		}
		for table := range rows {
			if err := insert(table, "", ""); err != nil {
				t.Errorf("a proper row of %s: %v", table, err)
			}
		}
		for _, refused := range []values{both, own} {
			for column, texts := range refused {
				table, name, _ := strings.Cut(column, ".")
				for _, text := range texts {
					if err := insert(table, name, text); err == nil {
						t.Errorf("%s = %s: inserted", column, text)
					}
				}
			}
		}
	})
}

// TestUnreadableIdentities are left out of an account's, and reported. The checks are away, as in a table that something else has made.
func TestUnreadableIdentities(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ana := created(t, store, "ana")
		for _, subject := range []string{"1", "2"} {
			who, err := domain.ParseIdentity("https://id.example", subject)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := store.LinkIdentity(t.Context(), ana.ID(), who); err != nil {
				t.Fatal(err)
			}
		}
		statements := []string{"ALTER TABLE identities DROP CONSTRAINT identities_created_at_check, DROP CONSTRAINT identities_last_used_at_check"}
		values := []string{"infinity", "-infinity", "10000-01-01"}
		if store.Schema() == "" {
			statements, values = []string{"PRAGMA ignore_check_constraints = on"}, []string{"infinity", "", "7"}
		}
		for _, statement := range statements {
			if _, err := store.DB().Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		for _, column := range []string{"created_at", "last_used_at"} {
			for _, value := range values {
				if _, err := store.DB().Exec("UPDATE identities SET " + column + " = '" + value + "' WHERE subject = '2'"); err != nil {
					t.Fatal(err)
				}
				links, err := store.Identities(t.Context(), ana.ID())
				var m *domain.Malformed
				if !errors.As(err, &m) || m.ID != ana.ID() || m.Column != column || domain.KindOf(err) != domain.ErrInvalid {
					t.Errorf("%s = %s: %v; want a malformed row", column, value, err)
				}
				if len(links) != 1 || links[0].Identity.Subject() != "1" {
					t.Errorf("%s = %s: %v; want the other identity", column, value, links)
				}
			}
			if _, err := store.DB().Exec("UPDATE identities SET " + column + " = '2026-01-01 00:00:00' WHERE subject = '2'"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// SQLite's lower() knows ASCII only, and it has no normal forms.
func TestPostgresRefusesWhatIsNotCanonicalInAnyScript(t *testing.T) {
	refusesInserts(t, storetest.OpenPostgres(t, storetest.PostgresURL(t)), map[string]string{
		"capitals of another script": "'JÖRG@example.org', 'other', 'h'",
		"a decomposed letter":        "E'jo\\u0308rg@example.org', 'other', 'h'",
		"a decomposed username":      "'other@example.org', E'jo\\u0308rg', 'h'",
	})
}

func refusesInserts(t *testing.T, store *infra.Store, rows map[string]string) {
	t.Helper()
	for name, values := range rows {
		if _, err := store.DB().Exec("INSERT INTO users (email, username, hashed_password) VALUES (" + values + ")"); err == nil {
			t.Errorf("%s: inserted", name)
		}
	}
}

// TestCanonicalFormsPassTheChecks holds the program's idea of lower case against the database's.
func TestCanonicalFormsPassTheChecks(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		for i, local := range []string{"ΩmegaΣ", "straße", "ISTANBUL", "İstanbul", "ıI", "ǅ", "ﬁn", "ｆｕｌｌ", "ЙОЖ", "naïve", "Åse", "Ⅷ", "Ⓐ", "Ꮳ", "ᲀ", "Ა"} {
			email, err := domain.ParseEmail(local + "@example.org")
			if err != nil {
				continue // what the program refuses, the database need not know
			}
			u := storetest.NewUser(t, fmt.Sprintf("user%d", i))
			if err := u.ChangeEmail(email); err != nil {
				t.Fatal(err)
			}
			if err := store.Create(t.Context(), u); err != nil {
				t.Errorf("%s, canonical %s: %v", local, email, err)
			}
		}
	})
}

func TestTimesKeepTheirInstant(t *testing.T) {
	location, err := time.LoadLocation("America/Bogota")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 29, 1, 30, 0, 123_456_789, location)
	check := func(t *testing.T, store *infra.Store) {
		u := storetest.NewUser(t, "ana")
		state := u.State()
		state.LastLogin, state.CreatedAt = domain.StoredTime(at), domain.StoredTime(at)
		u, err := domain.RestoreUser(state)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		found, err := store.FindByID(t.Context(), u.ID())
		if err != nil {
			t.Fatal(err)
		}
		want := at.Truncate(time.Microsecond)
		if !found.LastLogin().Equal(want) || !found.CreatedAt().Equal(want) || found.LastLogin().Location() != time.UTC {
			t.Errorf("stored %v, found %v and %v", want, found.LastLogin(), found.CreatedAt())
		}
	}
	t.Run("sqlite", func(t *testing.T) { check(t, storetest.OpenSQLite(t, ":memory:")) })
	for _, zone := range []string{"UTC", "Pacific/Kiritimati", "America/St_Johns"} {
		t.Run("postgres in "+zone, func(t *testing.T) { check(t, storetest.OpenPostgres(t, storetest.PostgresURL(t)+"&timezone="+zone)) })
	}
}

// TestReturnedRowsAreTheStoredOnes holds the statements that return a row against a read of it.
func TestReturnedRowsAreTheStoredOnes(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		id := created(t, store, "ana").ID()
		other, _ := domain.ParsePasswordHash("$2b$10$other")
		phone, _ := domain.ParsePhone("+573001112233")
		email, _ := domain.ParseEmail("other@example.org")
		hour := time.Now().Add(time.Hour)
		steps := map[string]func() (*domain.User, error){
			"names":  func() (*domain.User, error) { return store.SetNames(ctx, id, domain.Names{First: "A", Last: "B"}) },
			"phone":  func() (*domain.User, error) { return store.SetPhone(ctx, id, phone) },
			"e-mail": func() (*domain.User, error) { return store.SetEmail(ctx, id, email) },
			"sign-in": func() (*domain.User, error) {
				if _, err := store.RecordSignIn(ctx, id); err != nil {
					return nil, err
				}
				return store.FindByID(ctx, id)
			},
			"failure": func() (*domain.User, error) { return store.RecordFailure(ctx, id, domain.LockPolicy{Attempts: 1}) },
			"reset": func() (*domain.User, error) {
				return store.IssueReset(ctx, id, domain.NewOneTimeToken().Digest(), hour)
			},
			"verification": func() (*domain.User, error) {
				return store.IssueVerification(ctx, id, domain.NewOneTimeToken().Digest(), hour)
			},
			"phone code": func() (*domain.User, error) {
				return store.IssuePhoneCode(ctx, id, domain.NewPhoneCode().Digest(id), hour)
			},
			"session": func() (*domain.User, error) {
				grant, err := store.IssueToken(ctx, id, domain.SessionPolicy{})
				if err != nil {
					return nil, err
				}
				u, _, err := store.FindByToken(ctx, grant.Token)
				return u, err
			},
			"update": func() (*domain.User, error) {
				return store.Update(ctx, id, func(u *domain.User) error { return u.Rename("C", "") })
			},
			"password": func() (*domain.User, error) {
				return store.SetPassword(ctx, id, domain.PasswordHash{}, other, domain.SessionID{})
			},
		}
		for _, name := range []string{"names", "phone", "e-mail", "sign-in", "reset", "verification", "phone code", "session", "failure", "update", "password"} {
			returned, err := steps[name]()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			found, err := store.FindByID(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(returned.State(), found.State()) {
				t.Errorf("%s: returned %#v\nfound %#v", name, returned.State(), found.State())
			}
		}
	})
}

func TestTransaction(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		failed := errors.New("failed")
		u := storetest.NewUser(t, "ana")
		if err := store.InTx(ctx, func(tx *infra.Tx) error {
			return errors.Join(tx.Create(ctx, u), failed)
		}); !errors.Is(err, failed) {
			t.Fatalf("got %v", err)
		}
		if _, err := store.FindByID(ctx, u.ID()); !errors.Is(err, domain.ErrNotFound) {
			t.Fatalf("a rolled back account: %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = store.InTx(ctx, func(tx *infra.Tx) error {
				_ = tx.Create(ctx, u)
				panic("in a transaction")
			})
		}()
		if err := store.InTx(ctx, func(tx *infra.Tx) error {
			if err := tx.Create(ctx, u); err != nil {
				return err
			}
			if err := tx.InTx(ctx, func(inner *infra.Tx) error {
				return errors.Join(inner.Create(ctx, storetest.NewUser(t, "bob")), failed)
			}); !errors.Is(err, failed) {
				t.Errorf("a savepoint: %v", err)
			}
			_, err := tx.IssueToken(ctx, u.ID(), domain.SessionPolicy{})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if sessions, err := store.Sessions(ctx, u.ID()); err != nil || len(sessions) != 1 {
			t.Errorf("%d sessions, %v", len(sessions), err)
		}
	})
}

// TestRowsThatCouldNotBeReadAreRefused writes past the store what its checks are for.
func TestRowsThatCouldNotBeReadAreRefused(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		u := created(t, store, "ana")
		refused := map[string][]string{
			"id":    {"'00000000-0000-0000-0000-000000000000'"},
			"email": {"''", "'nothing'", "'@b'", "'a@'", "'A@x.org'"}, "pending_email": {"''", "'nothing'", "'A@x.org'"},
			"username": {"''", "'Ana'"}, "failed_login_attempts": {"-1", "2147483648"}, "phone_code_attempts": {"-1", "2147483648"},
			"version": {"0"}, "refresh_tokens": {"'{}'"},
		}
		times := []string{
			"last_login", "locked_until", "reset_token_expiry", "verification_token_expiry", "phone_code_expiry", "phone_verified_at", "created_at", "updated_at",
		}
		for _, column := range times {
			if store.Schema() == "" { // SQLite
				refused[column] = []string{"''", "'soon'", "5", "'2026-13-01 00:00:00'", "'2026-01-01T00:00:00Z'", "'0000-12-31 00:00:00'", "'10000-01-01 00:00:00'"}
			} else {
				refused[column] = []string{"'infinity'", "'-infinity'", "'0001-12-31 00:00:00+00 BC'", "'10000-01-01 00:00:00+00'"}
			}
		}
		for column, values := range refused {
			for _, value := range values {
				if _, err := store.DB().Exec("UPDATE users SET " + column + " = " + value); err == nil {
					t.Errorf("%s = %s was stored", column, value)
				}
			}
		}
		for _, column := range times {
			for _, value := range []string{"'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "CURRENT_TIMESTAMP"} {
				if _, err := store.DB().Exec("UPDATE users SET " + column + " = " + value); err != nil {
					t.Errorf("%s = %s: %v", column, value, err)
				}
				if _, err := store.FindByID(t.Context(), u.ID()); err != nil {
					t.Errorf("%s = %s: %v", column, value, err)
				}
			}
		}
		_, err := store.LockUntil(t.Context(), u.ID(), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
		var refusal *domain.Error
		if !errors.As(err, &refusal) || refusal.Kind != domain.ErrInvalid || refusal.Field != "locked_until" {
			t.Errorf("a lock into the year 10000: %v", err)
		}
	})
}

// withoutChecks makes of a table of users one that something else has made.
func withoutChecks(t *testing.T, store *infra.Store) {
	t.Helper()
	statement := `DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'c' LOOP
			EXECUTE format('ALTER TABLE users DROP CONSTRAINT %I', name);
		END LOOP; END $$`
	if store.Schema() == "" {
		statement = "PRAGMA ignore_check_constraints = on" // of the one connection that writes
	}
	if _, err := store.DB().Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func TestStoredRowsThatAreNotAccounts(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		withoutChecks(t, store)
		for column, value := range map[string]string{
			"hashed_password": "''", "refresh_tokens": "'[1]'", "reset_token": "'short'",
		} {
			u := created(t, store, "user"+strings.ReplaceAll(column, "_", ""))
			if _, err := store.DB().Exec("UPDATE users SET " + column + " = " + value + " WHERE username = '" + u.Username().String() + "'"); err != nil {
				t.Fatal(err)
			}
			_, err := store.FindByID(t.Context(), u.ID())
			if err == nil || !strings.Contains(err.Error(), column) {
				t.Errorf("%s: the error does not name the column: %v", column, err)
			}
			if column != "refresh_tokens" && err != nil && !strings.Contains(err.Error(), u.ID().String()) {
				t.Errorf("%s: the error does not name the account: %v", column, err)
			}
			if value != "''" && err != nil && strings.Contains(err.Error(), strings.Trim(value, "'[]")+" ") {
				t.Errorf("%s: the error quotes the value: %v", column, err)
			}
		}
	})
}

func TestClosedStore(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		u := created(t, store, "ana")
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.FindByID(t.Context(), u.ID()); !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if err := store.Create(t.Context(), u); !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnmigratedDatabase(t *testing.T) {
	for _, database := range databases {
		t.Run(database, func(t *testing.T) {
			store := openEmpty(t, database)
			if err := store.CheckMigrations(t.Context()); !errors.Is(err, domain.ErrPendingMigrations) {
				t.Errorf("check: %v", err)
			}
			if _, err := store.FindByID(t.Context(), domain.NewID()); !errors.Is(err, domain.ErrPendingMigrations) {
				t.Errorf("find: %v", err)
			}
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := store.CheckMigrations(t.Context()); err != nil {
				t.Error(err)
			}
			// A later release takes a column away, while this one still runs.
			if _, err := store.DB().Exec("ALTER TABLE users RENAME COLUMN last_name TO family_name"); err != nil {
				t.Fatal(err)
			}
			if _, err := store.FindByID(t.Context(), domain.NewID()); !errors.Is(err, domain.ErrPendingMigrations) || !strings.Contains(err.Error(), "older or newer") {
				t.Errorf("find: %v", err)
			}
		})
	}
}

// TestErrorsCarryNoValues provokes errors of the database and looks in their text for what was to be stored.
func TestErrorsCarryNoValues(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		first := created(t, store, "secretname")
		second := created(t, store, "second")
		var errs []error
		errs = append(errs, store.Create(t.Context(), first))
		_, err := store.SetEmail(t.Context(), second.ID(), first.Email())
		errs = append(errs, err)
		_, err = store.SetUsername(t.Context(), second.ID(), first.Username())
		errs = append(errs, err)
		_, err = store.Update(t.Context(), second.ID(), func(u *domain.User) error { return u.ChangeEmail(first.Email()) })
		errs = append(errs, err)
		if _, err := store.DB().Exec("ALTER TABLE users RENAME COLUMN first_name TO given_name"); err != nil {
			t.Fatal(err)
		}
		_, err = store.SetNames(t.Context(), second.ID(), domain.Names{First: "secretname"})
		errs = append(errs, err)
		for _, err := range errs {
			if err == nil {
				t.Error("no error")
				continue
			}
			for _, secret := range []string{"secretname", "argon2id", "c2FsdHN", "INSERT", "UPDATE"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q tells %q", err, secret)
				}
			}
		}
	})
}

// TestDumpHoldsNoSecret looks for tokens in everything that is stored.
func TestDumpHoldsNoSecret(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		id := created(t, store, "ana").ID()
		grant, err := store.IssueToken(ctx, id, domain.SessionPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		rotated, err := store.RotateToken(ctx, grant.Token, domain.SessionPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		reset, verification := domain.NewOneTimeToken(), domain.NewOneTimeToken()
		if _, err := store.IssueReset(ctx, id, reset.Digest(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := store.IssueVerification(ctx, id, verification.Digest(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		dump := dumpUsers(t, store.DB())
		for name, secret := range map[string]string{
			"refresh token": grant.Token.Reveal(), "rotated token": rotated.Token.Reveal(),
			"reset token": reset.Reveal(), "verification token": verification.Reveal(),
		} {
			if strings.HasSuffix(name, "refresh token") || name == "rotated token" {
				secret = secret[24:86] // between the user's ID and what is stored as well
			}
			for from := 0; from+16 <= len(secret); from++ {
				if strings.Contains(dump, secret[from:from+16]) {
					t.Errorf("the database holds a part of the %s", name)
				}
			}
		}
		if !strings.Contains(dump, reset.Digest().Stored()) {
			t.Error("the dump does not hold what it should, so that this test shows nothing")
		}
	})
}

func dumpUsers(t *testing.T, db *stdsql.DB) string {
	t.Helper()
	rows, err := db.Query("SELECT * FROM users")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var dump strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			switch v := (*value.(*any)).(type) {
			case []byte:
				fmt.Fprintf(&dump, "%s\n", v)
			default:
				fmt.Fprintf(&dump, "%v\n", v)
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return dump.String()
}

// TestSweepDoesNotUndoConcurrentRotations runs the sweep against rotations of the same rows.
func TestSweepDoesNotUndoConcurrentRotations(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		id := created(t, store, "ana").ID()
		grant, err := store.IssueToken(ctx, id, domain.SessionPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		var sweeping sync.WaitGroup
		done := make(chan struct{})
		sweeping.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if _, err := store.SweepSessions(ctx, domain.ID{}, 100); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
		for range 50 {
			if grant, err = store.RotateToken(ctx, grant.Token, domain.SessionPolicy{Grace: time.Millisecond}); err != nil {
				t.Error(err)
				break
			}
		}
		close(done)
		sweeping.Wait()
	})
}

// TestUpdateLosesNoBackfill has a statement by hand, which raises no version, write while the closure of an Update runs.
func TestUpdateLosesNoBackfill(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		id := created(t, store, "ana").ID()
		calls := 0
		u, err := store.Update(ctx, id, func(u *domain.User) error {
			if calls++; calls == 1 {
				if _, err := store.DB().ExecContext(ctx, "UPDATE users SET phone = '+573001112233', last_name = 'Backfilled'"); err != nil {
					t.Fatal(err)
				}
			}
			return u.Rename("Ana", u.LastName())
		})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := store.FindByID(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range []*domain.User{u, stored} {
			if u.FirstName() != "Ana" || u.LastName() != "Backfilled" || u.Phone().String() != "+573001112233" || u.Version() != 2 || calls != 1 {
				t.Errorf("after %d calls: %q %q, phone %v, version %d", calls, u.FirstName(), u.LastName(), u.Phone(), u.Version())
			}
		}
	})
}
