package audit_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/sqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// audited returns a migrated store with an audit trail, and an account in it.
func audited(ctx context.Context) (*infra.Store, *domain.User) {
	store, err := sqlite.Open(ctx, ":memory:", audit.WithTrail(audit.Options{}))
	check(err)
	check(store.Migrate(ctx))
	email, err := domain.ParseEmail("ana@example.org")
	check(err)
	username, err := domain.ParseUsername("ana")
	check(err)
	ana, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	check(err)
	check(store.Create(ctx, ana))
	return store, ana
}

func ExampleWithTrail() {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, ":memory:", audit.WithTrail(audit.Options{}))
	check(err)
	fmt.Println(store.Migrate(ctx)) // each change from now on leaves an entry, in its transaction
	// Output: <nil>
}

func ExampleList() {
	request := domain.WithOrigin(context.Background(), domain.Origin{RequestID: "4711", Client: netip.MustParseAddr("192.0.2.7")})
	store, ana := audited(request)
	_, err := store.Deactivate(request, ana.ID())
	check(err)
	entries, err := audit.List(request, store, audit.Query{UserID: ana.ID(), Limit: 10})
	check(err)
	for _, e := range entries {
		fmt.Println(e.Kind, e.RequestID, e.Client) // the network, unless Options.FullAddress is set
	}
	// Output:
	// registered 4711 192.0.2.0/24
	// deactivated 4711 192.0.2.0/24
}

func ExamplePrune() {
	ctx := context.Background()
	store, _ := audited(ctx)
	for {
		n, err := audit.Prune(ctx, store, time.Now().Add(time.Hour), 1000) // in an application: before a year ago
		check(err)
		fmt.Println(n)
		if n == 0 {
			break
		}
	}
	// Output:
	// 1
	// 0
}
