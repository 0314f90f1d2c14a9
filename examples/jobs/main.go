// Command jobs sends a mail to each new account, by a job of River (https://riverqueue.com) that is enqueued in the transaction of the registration:
// so there is no mail without an account, and no account without a mail, whatever is killed meanwhile.
//
//	jobs work postgres://app@localhost/app localhost:25            sends mails until it is interrupted
//	jobs register postgres://app@localhost/app ana@example.org ana
//
// The tables of the accounts and of River are made where they are missing.
package main

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"net/smtp"
	"os"
	"os/signal"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("usage: jobs work DATABASE SMTP, or jobs register DATABASE EMAIL USERNAME")
	}
	store, err := open(ctx, args[1])
	if err != nil {
		return err
	}
	defer store.Close()
	switch {
	case args[0] == "work" && len(args) == 3:
		return work(ctx, store, args[2])
	case args[0] == "register" && len(args) == 4:
		return register(ctx, store, args[2], args[3])
	}
	return errors.New("unknown command")
}

// Welcome is the job: a mail to a new account. It holds the account's id alone, for the address may be another one when it is sent.
type Welcome struct {
	UserID uuid.UUID `json:"user_id"`
}

// Kind implements river.JobArgs.
func (Welcome) Kind() string { return "welcome" }

// open returns a store whose registrations enqueue the job.
func open(ctx context.Context, databaseURL string) (*infra.Store, error) {
	var jobs *river.Client[*stdsql.Tx]
	enqueue := func(ctx context.Context, tx *infra.Tx, event domain.Event) error {
		_, err := jobs.InsertTx(ctx, tx.SQL(), Welcome{UserID: event.UserID.UUID()}, nil)
		return err
	}
	store, err := postgres.Open(ctx, databaseURL, infra.WithHook(enqueue, domain.EventRegistered))
	if err != nil {
		return nil, err
	}
	driver := riverdatabasesql.New(store.DB())
	migrator, err := rivermigrate.New(driver, nil)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err == nil {
		jobs, err = river.NewClient(driver, &river.Config{}) // which only inserts
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func register(ctx context.Context, store *infra.Store, address, name string) error {
	email, emailErr := domain.ParseEmail(address)
	username, nameErr := domain.ParseUsername(name)
	if err := errors.Join(emailErr, nameErr); err != nil {
		return err
	}
	user, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	if err != nil {
		return err
	}
	return store.Create(ctx, user)
}

// work sends mails until ctx ends. A worker that is killed leaves its job behind, and another one takes it up: a mail can come twice.
func work(ctx context.Context, store *infra.Store, server string) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, &mailer{store: store, server: server})
	client, err := river.NewClient(riverdatabasesql.New(store.DB()), &river.Config{
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 50}},
		Workers:              workers,
		FetchPollInterval:    100 * time.Millisecond,
		RescueStuckJobsAfter: time.Minute,
		JobTimeout:           30 * time.Second,
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return client.Stop(stopping)
}

type mailer struct {
	river.WorkerDefaults[Welcome]
	store  *infra.Store
	server string
}

// Work sends the mail to the address that the account has now. An account that was deleted gets none.
func (m *mailer) Work(ctx context.Context, job *river.Job[Welcome]) error {
	user, err := m.store.FindByID(ctx, domain.IDFromUUID(job.Args.UserID))
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	const from = "accounts@example.org"
	body := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: Welcome\r\n\r\nHello %s!\r\n", from, user.Email(), user.Username())
	return smtp.SendMail(m.server, nil, from, []string{user.Email().String()}, []byte(body))
}
