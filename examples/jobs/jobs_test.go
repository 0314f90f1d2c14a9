package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/storetest"
)

const childVariable = "JOBS_TEST_CHILD"

func TestMain(m *testing.M) {
	if command := os.Getenv(childVariable); command != "" {
		if err := child(context.Background(), strings.Fields(command)); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child registers accounts, at most 200 each second, or sends mails, until it is killed.
func child(ctx context.Context, args []string) error {
	if args[0] == "work" {
		return run(ctx, args)
	}
	store, err := open(ctx, args[1])
	if err != nil {
		return err
	}
	for ; ; time.Sleep(5 * time.Millisecond) {
		name := "u" + strings.ReplaceAll(domain.NewID().String(), "-", "")
		if err := register(ctx, store, name+"@example.org", name); err != nil {
			return err
		}
	}
}

// TestNoMailWithoutAnAccountAndNoAccountWithoutAMail kills processes that register accounts and processes that send mails, and then lets one work.
func TestNoMailWithoutAnAccountAndNoAccountWithoutAMail(t *testing.T) {
	address := storetest.EmptyPostgresURL(t)
	store, err := open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	mails := newMailServer(t)
	rounds := 5
	if os.Getenv("ACCOUNTS_TEST_LONG") != "" {
		rounds = 200
	}
	for range rounds {
		var running []*exec.Cmd
		for _, command := range []string{"register " + address, "register " + address, "work " + address + " " + mails.address} {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"="+command)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running = append(running, cmd)
		}
		time.Sleep(300*time.Millisecond + rand.N(300*time.Millisecond))
		for _, cmd := range running {
			_ = cmd.Process.Kill()
			if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("a process was not killed: %v", err)
			}
		}
	}

	// The server may still be at work for a process that was killed.
	for busy := 1; busy > 0; time.Sleep(20 * time.Millisecond) {
		if err := store.DB().QueryRow("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'").Scan(&busy); err != nil {
			t.Fatal(err)
		}
	}
	// What a killed worker had begun is taken up again after a minute; here at once.
	if _, err := store.DB().Exec("UPDATE river_job SET state = 'available' WHERE state = 'running'"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- work(ctx, store, mails.address) }()
	// However many there are, it is at work as long as they become fewer.
	left, since := -1, time.Now()
	for ; ; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-done:
			t.Fatalf("the worker ended: %v", err)
		default:
		}
		var open int
		if err := store.DB().QueryRow("SELECT count(*) FROM river_job WHERE state <> 'completed'").Scan(&open); err != nil {
			t.Fatal(err)
		}
		if open == 0 {
			break
		}
		if open != left {
			left, since = open, time.Now()
		}
		if time.Since(since) > 2*time.Minute {
			t.Fatalf("%d jobs are left, and none was done for two minutes", open)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	received, registered := mails.received(), 0
	for user, err := range store.Export(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		registered++
		if received[user.Email().String()] == 0 {
			t.Errorf("%s has no mail", user.Email())
		}
		delete(received, user.Email().String())
	}
	for recipient := range received {
		t.Errorf("a mail went to %s, which is no account", recipient)
	}
	t.Logf("%d accounts", registered)
	if registered == 0 {
		t.Error("no account was registered")
	}
}

// TestRefusedRegistrationHasNoJob also has a hook behind the one of the job fail.
func TestRefusedRegistrationHasNoJob(t *testing.T) {
	ctx := t.Context()
	store, err := open(ctx, storetest.EmptyPostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := register(ctx, store, "ana@example.org", "ana"); err != nil {
		t.Fatal(err)
	}
	if err := register(ctx, store, "ana@example.org", "bob"); !errors.Is(err, domain.ErrTaken) {
		t.Fatal(err)
	}
	undo := errors.New("undo")
	if err := store.InTx(ctx, func(tx *infra.Tx) error {
		return errors.Join(tx.Create(ctx, storetest.NewUser(t, "eva")), undo)
	}); !errors.Is(err, undo) {
		t.Fatal(err)
	}
	var jobs int
	if err := store.DB().QueryRow("SELECT count(*) FROM river_job").Scan(&jobs); err != nil || jobs != 1 {
		t.Errorf("%d jobs, %v; want 1", jobs, err)
	}
}

// mailServer accepts every mail, and keeps for whom it was.
type mailServer struct {
	address string
	mu      sync.Mutex
	to      map[string]int
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s := &mailServer{address: listener.Addr().String(), to: map[string]int{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// serve speaks as much of SMTP (RFC 5321) as a client needs.
func (s *mailServer) serve(conn net.Conn) {
	defer conn.Close()
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 test")
	var recipient string
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "RCPT TO:"):
			recipient = strings.Trim(strings.TrimPrefix(line, "RCPT TO:"), "<>")
			say("250 ok")
		case line == "DATA":
			say("354 go on")
			for lines.Scan() && lines.Text() != "." {
			}
			if lines.Text() == "." {
				s.mu.Lock()
				s.to[recipient]++
				s.mu.Unlock()
				say("250 ok")
			}
		case line == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *mailServer) received() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]int{}
	for recipient, n := range s.to {
		all[recipient] = n
	}
	return all
}
