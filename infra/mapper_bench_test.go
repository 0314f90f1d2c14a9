package infra

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
)

// BenchmarkMapper measures the mapper alone: from a row to an account, and from an account to a mutation.
func BenchmarkMapper(b *testing.B) {
	now := time.Now().UTC()
	row := ent.User{
		ID: uuid.New(), Email: "ada@example.org", Username: "ada", IsActive: true, Version: 7, CreatedAt: now, UpdatedAt: now, LastLogin: &now,
		HashedPassword: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("a", 43),
	}
	for i := range 20 {
		row.RefreshTokens = append(row.RefreshTokens, strings.Repeat(fmt.Sprint(i%10), domain.LiveEntryLen))
	}
	u, err := toDomain(&row)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := toDomain(&row); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		client := ent.NewClient()
		for b.Loop() {
			toRow(client.User.Create().Mutation(), u)
		}
	})
}
