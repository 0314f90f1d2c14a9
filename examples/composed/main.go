// Command composed registers organizations and their first accounts in a database that Atlas has migrated, and lists them:
//
//	DATABASE_URL='sqlite://app.db?_fk=1' atlas migrate apply --env sqlite
//	echo 'correct horse battery staple' | go run . app.db Acme ana@example.org ana
//
// A postgres:// URL in place of the file leads to PostgreSQL.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/examples/composed/ent"
	"github.com/softbee/accounts/examples/composed/ent/organization"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/entaccounts"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "composed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 4 {
		return errors.New("usage: composed DATABASE ORGANIZATION EMAIL USERNAME, with the password on standard input")
	}
	store, err := open(ctx, args[0])
	if err != nil {
		return err
	}
	defer store.Close()
	// The migrations are the application's: so it asks for what the store needs, not for a history.
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}

	line, err := bufio.NewReader(stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	user, err := newUser(ctx, store, args[2], args[3], strings.TrimRight(line, "\r\n"))
	if err != nil {
		return err
	}
	if err := register(ctx, store, args[1], user); err != nil {
		return err
	}

	organizations, err := client(store, store.DB()).Organization.Query().WithMembers().Order(organization.ByName()).All(ctx)
	if err != nil {
		return err
	}
	for _, o := range organizations {
		for _, member := range o.Edges.Members {
			fmt.Fprintln(stdout, o.Name, member.Email)
		}
	}
	return nil
}

func open(ctx context.Context, database string) (*infra.Store, error) {
	trail := audit.WithTrail(audit.Options{})
	if strings.HasPrefix(database, "postgres://") {
		return postgres.Open(ctx, database, trail)
	}
	return sqlite.Open(ctx, database, trail)
}

func newUser(ctx context.Context, store *infra.Store, address, name, typed string) (*domain.User, error) {
	hasher, err := password.New(password.Policy{})
	if err != nil {
		return nil, err
	}
	auth, err := domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{})
	if err != nil {
		return nil, err
	}
	email, emailErr := domain.ParseEmail(address)
	username, nameErr := domain.ParseUsername(name)
	hash, hashErr := auth.HashPassword(ctx, typed)
	if err := errors.Join(emailErr, nameErr, hashErr); err != nil {
		return nil, err
	}
	return domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: hash}, time.Now())
}

// register stores an organization and its first account, or neither.
func register(ctx context.Context, store *infra.Store, name string, user *domain.User) error {
	return store.InTx(ctx, func(tx *infra.Tx) error {
		id, err := uuid.NewRandom()
		if err != nil {
			return err
		}
		if err := client(store, tx.SQL()).Organization.Create().SetID(id).SetName(name).Exec(ctx); err != nil {
			return err
		}
		return tx.CreateWith(ctx, user, infra.Column{Name: "org_id", Value: id})
	})
}

// client is the application's ent client on a pool, or in a transaction of the store.
func client(store *infra.Store, executor entsql.ExecQuerier) *ent.Client {
	name := dialect.Postgres
	if store.Schema() == "" {
		name = dialect.SQLite
	}
	return ent.NewClient(ent.Driver(entaccounts.Driver(name, executor)))
}
