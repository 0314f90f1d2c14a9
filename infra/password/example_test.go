package password_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/password"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleNew() {
	ctx := context.Background()
	hasher, err := password.New(password.Policy{Concurrency: 4}) // Argon2id at OWASP's minimum; four hashes at once
	check(err)
	hash, err := hasher.Hash(ctx, "correct horse battery staple")
	check(err)
	verified, err := hasher.Verify(ctx, hash, "correct horse battery staple")
	check(err)
	fmt.Println(verified.Match, verified.Stale)

	_, err = password.New(password.Policy{Memory: 1024})
	fmt.Println(err)
	// Output:
	// true false
	// memory: is below OWASP's minimum: 19456 KiB with 2 passes, or 47104 KiB with 1
}

func ExampleHasher_Verify() {
	ctx := context.Background()
	hasher, err := password.New(password.Policy{})
	check(err)
	imported, err := domain.ParsePasswordHash("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW") // bcrypt
	check(err)
	verified, err := hasher.Verify(ctx, imported, "U*U")
	check(err)
	if verified.Match && verified.Stale { // an Authenticator stores the better one
		better, err := hasher.Hash(ctx, "U*U")
		check(err)
		fmt.Println(better.HasPassword())
	}
	fmt.Println(hasher.Stats().Done > 1)
	// Output:
	// true
	// true
}

func ExampleHasher_Check() {
	hasher, err := password.New(password.Policy{})
	check(err)
	// For an import, which computes no hash: bulk.Options{CheckHash: hasher.Check}.
	unknown, err := domain.ParsePasswordHash("$7$unknown")
	check(err)
	fmt.Println(errors.Is(hasher.Check(unknown), domain.ErrInvalid))
	// Output: true
}

func ExampleRFC9106() {
	policy := password.RFC9106() // 64 MiB, three passes, four lanes
	policy.Concurrency = 2
	_, err := password.New(policy)
	fmt.Println(err, policy.Memory)
	// Output: <nil> 65536
}

func ExampleFast() {
	hasher := password.Fast() // for tests: a hash takes microseconds, and protects nothing
	hash, err := hasher.Hash(context.Background(), "correct horse battery staple")
	check(err)
	verified, err := hasher.Verify(context.Background(), hash, "correct horse battery staple")
	check(err)
	fmt.Println(verified.Match)
	// Output: true
}
