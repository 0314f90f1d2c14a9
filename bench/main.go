// Command bench compares the store with other ways to reach the same table: what it costs to find, to write and to page
// through accounts, over TCP, with and without a network's latency. docs/performance/comparison.md shows its report.
//
//	go run . -quick                    about three minutes, 100,000 rows
//	go run . -full -url postgres://…   about half an hour; 10 GB of disk
//	go run . -report results.jsonl     the report of an earlier run
//
// -full measures at 100,000, 1 million and 10 million rows: with 1 and 8 workers without latency, and with 1 worker at 0.5 ms
// and 2 ms. What version 7 of the UUID would change is a run of its own, which is compared with one that has v4:
//
//	go run . -rows 10000000 -workers 1 -systems store,pq -operations create,find_id -ids v7
//
// What tables and plots show is the mean time of one operation. The median of the single times is no measure: a reply that
// arrives before the goroutine has parked is taken up at once, one that arrives after has to wake it, which takes longer
// than a lookup does, so that the median of the same program is 11 µs or 50 µs according to which of the two was more often.
//
// It is a module of its own, so that the ways it compares are not dependencies of the library.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan is what to measure.
type plan struct {
	url        string
	rows       []int
	workers    []int
	latencies  []time.Duration
	rounds     int
	slice      time.Duration // of one operation on one system in one round
	systems    []string
	operations []string
	ids        ids
	full       bool // with latency only one worker
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var p plan
	flags.StringVar(&p.url, "url", os.Getenv("ACCOUNTS_TEST_POSTGRES"), "`URL` of a server on which databases may be created; by default one is started")
	quick := flags.Bool("quick", false, "100,000 rows, 1 and 8 workers, no added latency")
	flags.BoolVar(&p.full, "full", false, "100,000, 1 million and 10 million rows, latencies of 0, 0.5 and 2 ms")
	rows := flags.String("rows", "100000", "`numbers` of accounts")
	workers := flags.String("workers", "1,8", "`numbers` of concurrent workers")
	latencies := flags.String("latency", "0s", "`durations` that a round trip takes longer")
	flags.IntVar(&p.rounds, "rounds", 10, "rounds in which the systems take turns")
	flags.DurationVar(&p.slice, "slice", 100*time.Millisecond, "time for one operation on one system in one round")
	systems := flags.String("systems", strings.Join(systemNames, ","), "`names` of what to compare")
	operations := flags.String("operations", strings.Join(operationNames, ","), "`names` of what to do")
	version := flags.String("ids", string(v4), "`version` of the UUIDs that accounts have: v4 is random, v7 begins with the time")
	out := flags.String("out", "results.jsonl", "`file` for the results, one JSON object in a line")
	report := flags.String("report", "", "only report the results in a `file`")
	docs := flags.String("docs", "", "`directory` for the plots (SVG) and the report (report.md); by default the report goes to stdout")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *report != "" {
		return writeReport(*report, *docs)
	}
	switch {
	case *quick:
		*rows, *workers, *latencies = "100000", "1,8", "0s"
	case p.full:
		*rows, *workers, *latencies = "100000,1000000,10000000", "1,8", "0s,500us,2ms"
	}
	if p.rows, err = list(*rows, strconv.Atoi); err != nil {
		return err
	}
	if p.workers, err = list(*workers, strconv.Atoi); err != nil {
		return err
	}
	if p.latencies, err = list(*latencies, time.ParseDuration); err != nil {
		return err
	}
	p.systems, p.operations = strings.Split(*systems, ","), strings.Split(*operations, ",")
	for _, name := range p.systems {
		if !slices.Contains(systemNames, name) {
			return fmt.Errorf("no system %q; there are %s", name, strings.Join(systemNames, ", "))
		}
	}
	for _, name := range p.operations {
		if !slices.Contains(operationNames, name) {
			return fmt.Errorf("no operation %q; there are %s", name, strings.Join(operationNames, ", "))
		}
	}
	if p.ids = ids(*version); p.ids != v4 && p.ids != v7 {
		return fmt.Errorf("no version %q of the IDs; there are v4 and v7", p.ids)
	}
	file, err := os.Create(*out)
	if err != nil {
		return err
	}
	if err := measure(ctx, p, file); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return writeReport(*out, *docs)
}

func list[T any](text string, parse func(string) (T, error)) ([]T, error) {
	var values []T
	for part := range strings.SplitSeq(text, ",") {
		value, err := parse(part)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// result is one line of output. Numbers are medians over the rounds. MeasuredMS is by how much an empty statement took longer
// through the proxy at that time; Mean is the workers' time divided by the operations, and Spread the middle half of its
// rounds, relative to the median.
type result struct {
	Operation  string  `json:"operation"`
	System     string  `json:"system"`
	Workers    int     `json:"workers"`
	Rows       int     `json:"rows"`
	IDs        ids     `json:"ids"`
	LatencyMS  float64 `json:"latency_ms"`
	MeasuredMS float64 `json:"measured_latency_ms"`
	OpsPerS    float64 `json:"ops_s"`
	Mean       float64 `json:"mean_us"`
	Spread     float64 `json:"spread"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	CPU        float64 `json:"cpu_us"` // of the client's process, for each operation; with latency, the proxy's is in it
	Allocs     float64 `json:"allocs"`
	WAL        float64 `json:"wal_bytes"` // that the server has written for each operation, other work of its own included
	Rounds     int     `json:"rounds"`
}

func write(out io.Writer, line any) error {
	return json.NewEncoder(out).Encode(line)
}
