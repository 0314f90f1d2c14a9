//go:build unix

// Command chaos loads a store while something breaks, and then holds the database against what the store answered.
//
//	go run ./chaos -short             the set of continuous integration, about two minutes
//	go run ./chaos                    all scenarios, about half an hour
//	go run ./chaos -run 'frozen.*pgx' some of them
//	go run ./chaos -soak 1h           one server with a random fault every 10 s
//	go run ./chaos -url postgres://… -command 'SHELL COMMAND' -times 3 -every 20s
//
// The workers are a process of their own, or several. They write down each call before it is made and what came of it, and this process
// keeps the ledger: see ledger.go. A scenario passes if nothing that was acknowledged is lost, nothing was done twice, no reader saw less than had
// been acknowledged, every error has a kind, no call outlived its context by more than 2 s, and the last failed call ended within 3 s
// of the end of the fault. Two runs must be caught, or the ledger sees nothing: a store that repeats what may have been done, and a server that
// acknowledges before it has written.
//
// It starts the servers that it breaks from the installed binaries of PostgreSQL, as another user when root runs it. PgBouncer and
// a disk that fills up (which takes root) are left out, and reported, where they are missing.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settings are those of the command line.
type settings struct {
	short    bool
	pattern  string
	patience float64
	atOnce   int
	soak     time.Duration
	every    time.Duration
	times    int
	url      string
	driver   string
	command  string
	name     string
	verbose  bool
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workArgument {
		if err := work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// run returns whether everything passed.
func run(ctx context.Context, args []string) (bool, error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	var s settings
	flags.BoolVar(&s.short, "short", false, "only the set of continuous integration")
	flags.StringVar(&s.pattern, "run", "", "only the scenarios whose `name and driver` match a regular expression")
	flags.Float64Var(&s.patience, "patience", 1, "`factor` of the bounds of time, for a busy machine")
	flags.IntVar(&s.atOnce, "at-once", 1, "`number` of scenarios at the same time; the bounds are those of one")
	flags.DurationVar(&s.soak, "soak", 0, "`time` to run one server with a random fault now and then")
	flags.DurationVar(&s.every, "every", 10*time.Second, "`time` between two faults of -soak and -command")
	flags.IntVar(&s.times, "times", 3, "`number` of faults of -command")
	flags.StringVar(&s.url, "url", "", "`URL` of a server that -command breaks; it may have several hosts")
	flags.StringVar(&s.driver, "driver", "pq", "of -soak and -command: pq or pgx")
	flags.StringVar(&s.command, "command", "", "`shell command` that breaks the server at -url and has repaired it when it ends")
	flags.StringVar(&s.name, "name", "a command", "`name` of -command in the table")
	flags.BoolVar(&s.verbose, "v", false, "print samples of what failed")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	pattern, err := regexp.Compile(s.pattern)
	if err != nil {
		return false, err
	}
	chosen := all()
	switch {
	case s.soak > 0:
		chosen = []scenario{{name: "soak", drivers: s.driver, run: func(t *trial) { soak(t, s.soak, s.every) }}}
	case s.command != "":
		chosen = []scenario{{name: s.name, drivers: s.driver, run: func(t *trial) { command(t, s) }}}
	}
	defer removeCluster()
	fmt.Println("| scenario | driver | calls | acknowledged | not done | unknown | lost | doubled | beyond its context | recovery | |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	begun := time.Now()
	failed := 0
	var printing sync.Mutex // and counting what failed
	var running sync.WaitGroup
	turns := make(chan struct{}, max(1, s.atOnce))
	for _, sc := range chosen {
		for driver := range strings.FieldsSeq(sc.drivers) {
			if s.short && !strings.Contains(sc.short, driver) || !pattern.MatchString(sc.name+" "+driver) {
				continue
			}
			turns <- struct{}{}
			running.Go(func() {
				defer func() { <-turns }()
				if ctx.Err() != nil {
					return
				}
				t := newTrial(ctx, sc, driver, s)
				t.run()
				printing.Lock()
				defer printing.Unlock()
				fmt.Println(t.row())
				if !t.passed() {
					failed++
				}
				if !t.passed() || s.verbose {
					fmt.Fprint(os.Stderr, t.details())
				}
			})
		}
	}
	running.Wait()
	fmt.Fprintf(os.Stderr, "%d failed, in %v\n", failed, time.Since(begun).Round(time.Second))
	return failed == 0, ctx.Err()
}

// command has a shell command break a server that is not ours.
func command(t *trial, s settings) {
	t.load(s.url)
	for range s.times {
		t.wait(s.every)
		t.fault(func() {
			var out bytes.Buffer
			c := t.cmd("bash", "-c", s.command)
			c.Stdout, c.Stderr = &out, &out
			err := c.Run()
			t.note("%s (%v)", strings.TrimSpace(out.String()), err)
		})
	}
	t.wait(s.every)
}
