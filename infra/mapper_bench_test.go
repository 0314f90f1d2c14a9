package infra

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
)

// BenchmarkMapper measures the mapper alone: from a row to an account, and from an account to the arguments of a statement.
func BenchmarkMapper(b *testing.B) {
	email, _ := domain.ParseEmail("ada@example.org")
	username, _ := domain.ParseUsername("ada")
	hash, _ := domain.ParsePasswordHash("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("a", 43))
	now := domain.StoredTime(time.Now())
	state := domain.UserState{
		ID: domain.IDFromUUID(uuid.New()), Email: email, Username: username, PasswordHash: hash, Active: true, Version: 7,
		CreatedAt: now, UpdatedAt: now, LastLogin: now,
	}
	for i := range 20 {
		state.Sessions = append(state.Sessions, strings.Repeat(fmt.Sprint(i%10), 100))
	}
	u, err := domain.RestoreUser(state)
	if err != nil {
		b.Fatal(err)
	}
	row := valueRow(rowValues(u))
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := scanUser(row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			rowValues(u)
		}
	})
}
