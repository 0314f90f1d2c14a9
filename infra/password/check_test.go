package password

import (
	"context"
	"errors"
	"testing"

	"github.com/softbee/accounts/domain"
)

// TestCheckForetellsVerify holds Check against what Verify returns, which refuses a hash before it waits for its turn.
func TestCheckForetellsVerify(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	verifiable := 0
	for _, policy := range []Policy{{}, {AllowWeakImports: true}} {
		hasher, err := New(policy)
		if err != nil {
			t.Fatal(err)
		}
		for _, stored := range []string{
			"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			"$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			"$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
			"$2b$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
			"$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
			"!", "secret", "$2b$10$",
		} {
			hash, err := domain.ParsePasswordHash(stored)
			if err != nil {
				t.Fatal(err)
			}
			_, err = hasher.Verify(ended, hash, "secret")
			refused := errors.Is(err, domain.ErrInvalid)
			if got := hasher.Check(hash); (got != nil) != refused || refused && got.Error() != err.Error() {
				t.Errorf("%q: Check says %v, Verify says %v", stored, got, err)
			}
			if !refused {
				verifiable++
			}
		}
	}
	if verifiable != 5 { // two, and with weak imports three
		t.Errorf("%d hashes can be verified; want 5", verifiable)
	}
}
