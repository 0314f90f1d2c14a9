package adoption_test

import (
	"context"
	"crypto/md5"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/adoption"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/postgres"
)

// childVariable makes the test binary adopt the database at a URL, and nothing else.
const childVariable = "ACCOUNTS_ADOPTION_CHILD"

func TestMain(m *testing.M) {
	if url := os.Getenv(childVariable); url != "" {
		if err := adoptAlone(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func adoptAlone(ctx context.Context, url string) (err error) {
	store, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	verifier, err := password.New(password.Policy{})
	if err != nil {
		return err
	}
	a, err := adoption.Inspect(ctx, store.DB(), dialectOf(store), adoption.Options{Zone: zone, OnCollision: adoption.Newest, Hasher: verifier})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	_, err = a.Adopt(ctx, func(adoption.Problem) error { return nil })
	return err
}

// zone has summer and winter, so that a time read in another zone, or with another's offset, is seen.
const zone = "Europe/Madrid"

// multiply makes a table of the given number of rows from the sample of 58: copies that differ in key, domain, name, number
// and time of creation, and collide among each other as the originals do.
const multiply = `
	CREATE SCHEMA before;
	CREATE TABLE before.sample AS SELECT row_number() OVER (ORDER BY id) AS i, * FROM users;
	INSERT INTO users SELECT md5(id::text || n)::uuid, replace(email, '@', '@n' || n || '.') ||
		CASE WHEN email LIKE '%%@%%' THEN '' ELSE n::text END, username || n, hashed_password, first_name, last_name,
		CASE WHEN phone IS NOT NULL THEN '+34' || 600000000 + n * 100 + i END, reset_token || n, reset_token_expiry, is_active,
		is_verified, last_login + n * interval '7 hours', refresh_tokens, failed_login_attempts,
		created_at + n * interval '1 minute', updated_at + n * interval '1 minute'
	FROM before.sample, generate_series(1, (%d - 58 + 57) / 58) n LIMIT %[1]d - 58;
	CREATE TABLE before.users AS TABLE users;
	CREATE UNIQUE INDEX ON before.users (id);
	ANALYZE users`

// TestKilledAdoptionIsFinishedByTheNext kills processes at random points. With ACCOUNTS_ADOPTION_ROWS=1000000 it does so on
// as many rows, and takes some minutes.
func TestKilledAdoptionIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	rows, kills := 3_000, 4
	if text := os.Getenv("ACCOUNTS_ADOPTION_ROWS"); text != "" {
		var err error
		kills = 12
		if rows, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	url := postgrestest.Database(t)
	store := laidAt(t, url, "testdata/softbee_users.sql")
	db := store.DB()
	mustExec(t, db, fmt.Sprintf(multiply, rows))
	if n := query[int](t, db, "SELECT count(*) FROM users"); n != rows {
		t.Fatalf("%d rows were made; want %d", n, rows)
	}

	const digest = "SELECT count(*) || ' ' || sum(hashtextextended(users::text, 0)) FROM users"
	before := query[string](t, db, digest)

	// A run that reads a tenth of the rows, say, is followed by one that goes on from there: so the points at which they
	// are killed move through the whole adoption.
	longest, noted := time.Duration(rows)*25*time.Microsecond, int64(0)
	for range kills {
		after := 50*time.Millisecond + rand.N(longest)
		if noted == int64(rows) {
			after += rand.N(2 * longest) // what is left takes longer than reading did
		}
		child := startChild(t, url)
		time.Sleep(after) // the point of it
		_ = child.Process.Kill()
		err := child.Wait()
		adopted := query[bool](t, db, "SELECT to_regclass('accounts_adoption.adoption') IS NOT NULL")
		if query[bool](t, db, "SELECT to_regclass('accounts_adoption.canonical') IS NOT NULL") {
			noted = query[int64](t, db, "SELECT count(*) FROM accounts_adoption.canonical")
		}
		t.Logf("killed after %v: %v, %d rows read, adopted: %v", after.Round(time.Millisecond), err, noted, adopted)
		if adopted {
			break
		}
		if query[string](t, db, digest) != before {
			t.Fatal("an adoption that was killed changed the table")
		}
	}

	started := time.Now()
	child := startChild(t, url)
	if err := child.Wait(); err != nil {
		t.Fatalf("the last run: %v", err)
	}
	t.Logf("%d rows: the last run took %v, and at most %d MiB", rows, time.Since(started).Round(time.Millisecond), maxRSS(child)>>20)

	checkMigrated(t, store)
	checkMultiplied(t, db, rows)
	authenticator := newAuthenticator(t, store)
	list := accounts(t)
	for range 3 {
		account, n := list[simplyKept+rand.IntN(len(list)-simplyKept)], 1+rand.IntN(rows/58-1)
		id, err := domain.ParseID(uuid.UUID(md5.Sum([]byte(account.id + strconv.Itoa(n)))).String())
		if err != nil {
			t.Fatal(err)
		}
		user, err := store.FindByID(t.Context(), id)
		if err != nil {
			t.Errorf("copy %d of %s: %v", n, account.email, err)
			continue
		}
		if _, err := authenticator.Authenticate(t.Context(), user.Email().String(), account.password); err != nil {
			t.Errorf("%s does not sign in: %v", user.Email(), err)
		}
	}
}

func startChild(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), childVariable+"="+url)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

// checkMultiplied compares the accounts with the copy of the table from before.
func checkMultiplied(t *testing.T, db *sql.DB, rows int) {
	t.Helper()
	if n := query[int](t, db, "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM accounts_adoption.quarantine)"); n != rows {
		t.Errorf("%d rows are kept or quarantined, of %d", n, rows)
	}
	if lost := query[int](t, db, `SELECT count(*) FROM before.users o LEFT JOIN users n USING (id)
		LEFT JOIN accounts_adoption.quarantine s ON s.old_id = o.id::text
		WHERE (n.id IS NULL) = (s.old_id IS NULL) OR s.old_id IS NOT NULL AND s.original <> to_jsonb(o)`); lost != 0 {
		t.Errorf("%d rows are neither kept nor kept whole beside, or both", lost)
	}
	if shifted := query[int](t, db, `SELECT count(*) FROM users n JOIN before.users o USING (id)
		WHERE n.last_login IS DISTINCT FROM o.last_login AT TIME ZONE 'Europe/Madrid'
		OR o.created_at IS NOT NULL AND n.created_at <> o.created_at AT TIME ZONE 'Europe/Madrid'
		OR o.updated_at IS NOT NULL AND n.updated_at <> o.updated_at AT TIME ZONE 'Europe/Madrid'`); shifted != 0 {
		t.Errorf("of %d rows the times are others", shifted)
	}
	if changed := query[int](t, db, `SELECT count(*) FROM users n JOIN before.users o USING (id)
		WHERE n.hashed_password <> o.hashed_password OR n.phone IS DISTINCT FROM o.phone OR n.refresh_tokens <> '[]'
		OR n.reset_token IS NOT NULL OR n.failed_login_attempts <> coalesce(o.failed_login_attempts, 0)`); changed != 0 {
		t.Errorf("%d rows hold something else", changed)
	}
	// Of each 58 one is invalid and two collide.
	if quarantine, least := query[int](t, db, "SELECT count(*) FROM accounts_adoption.quarantine"), rows/58*3; quarantine < least-3 || quarantine > least+3 {
		t.Errorf("%d rows were quarantined; want about %d", quarantine, least)
	}
}
