package bulk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/bulk"
	"github.com/softbee/accounts/infra/storetest"
)

// TestExport writes two accounts, one of them with an identity, a session and a confirmed number, and reads them into another store.
func TestExport(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, store *infra.Store) {
		ctx := t.Context()
		ana, bob := storetest.NewUser(t, "ana"), storetest.NewUser(t, "bob")
		state := ana.State()
		var err error
		if state.Phone, err = domain.ParsePhone("+573001112233"); err != nil {
			t.Fatal(err)
		}
		state.PhoneVerifiedAt = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
		if ana, err = domain.RestoreUser(state); err != nil {
			t.Fatal(err)
		}
		for _, u := range []*domain.User{ana, bob} {
			if err := store.Create(ctx, u); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := store.IssueToken(ctx, ana.ID(), domain.SessionPolicy{}); err != nil {
			t.Fatal(err)
		}
		identity := domain.RestoreIdentity("https://issuer.example", `a "subject" <&>`)
		if _, err := store.LinkIdentity(ctx, ana.ID(), identity); err != nil {
			t.Fatal(err)
		}
		for format, want := range map[bulk.Format][]string{
			bulk.JSONLines: {
				`"phone":"+573001112233","phone_verified_at":"2026-01-02T03:04:05.000006Z"`, `"sessions":0`,
				`"identities":[{"issuer":"https://issuer.example","subject":"a \"subject\" <&>","created_at":"`, `"last_used_at":null}]`,
			},
			bulk.CSV: {"id,email,", ",phone,phone_verified_at,", ",+573001112233,2026-01-02T03:04:05.000006Z,"},
		} {
			var plain, whole bytes.Buffer
			exported, err := bulk.Export(ctx, store, &plain, bulk.ExportOptions{Format: format})
			if err != nil || exported != (bulk.Exported{Accounts: 2}) {
				t.Errorf("%s: %+v, %v", format, exported, err)
			}
			for _, part := range want {
				if !strings.Contains(plain.String(), part) {
					t.Errorf("%s lacks %s:\n%s", format, part, plain.String())
				}
			}
			if strings.Contains(plain.String(), "hashed_password") || strings.Contains(plain.String(), "$argon2id$") {
				t.Errorf("%s has a hash that nothing asked for:\n%s", format, plain.String())
			}
			if _, err := bulk.Export(ctx, store, &whole, bulk.ExportOptions{Format: format, WithHashes: true}); err != nil {
				t.Error(err)
			}
			copied := storetest.OpenSQLite(t, t.TempDir()+"/copy.db")
			if summary, refused := load(t, copied, format, whole.String()); summary != (bulk.Summary{Imported: 2}) {
				t.Errorf("%s: %+v, %v", format, summary, refused)
			}
			var again bytes.Buffer
			if _, err := bulk.Export(ctx, copied, &again, bulk.ExportOptions{Format: format, WithHashes: true}); err != nil || again.String() != whole.String() {
				t.Errorf("%s: %v\n%s\nand\n%s", format, err, whole.String(), again.String())
			}
		}

		if _, err := store.DB().ExecContext(ctx, "UPDATE users SET email = 'bob@example@' WHERE username = 'bob'"); err != nil {
			t.Fatal(err)
		}
		var malformed []*domain.Malformed
		exported, err := bulk.Export(ctx, store, io.Discard, bulk.ExportOptions{Malformed: func(m *domain.Malformed) { malformed = append(malformed, m) }})
		if err != nil || exported != (bulk.Exported{Accounts: 1, Malformed: 1}) || len(malformed) != 1 || malformed[0].Column != "email" {
			t.Errorf("a malformed row: %+v, %v, %v", exported, err, malformed)
		}

		full := errors.New("no space left")
		if _, err := bulk.Export(ctx, store, failing{full}, bulk.ExportOptions{}); !errors.Is(err, domain.ErrUnavailable) || !errors.Is(err, full) {
			t.Errorf("a file that cannot be written: %v", err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := bulk.Export(ended, store, io.Discard, bulk.ExportOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
