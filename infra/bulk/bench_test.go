package bulk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/bulk"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/password"
	"github.com/softbee/accounts/infra/storetest"
)

// rowsVariable is how many accounts BenchmarkImport imports, 100,000 if it is not set.
const rowsVariable = "ACCOUNTS_BENCH_ROWS"

// columns are those of the files that the benchmark makes: all that an import reads but the state of a lock.
var columns = []string{
	"id", "email", "username", "hashed_password", "first_name", "last_name", "phone", "is_active", "is_verified", "last_login",
	"created_at", "updated_at",
}

// BenchmarkImport compares, on PostgreSQL, an import with psql's \copy of the same columns into the same table with its
// indexes and checks. Each round takes every system once, each into a new database.
//
//	ACCOUNTS_BENCH_ROWS=1000000 go test ./infra/bulk -run '^$' -bench Import -benchtime 3x -timeout 1h
func BenchmarkImport(b *testing.B) {
	rows := 100_000
	if text := os.Getenv(rowsVariable); text != "" {
		var err error
		if rows, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	psql := filepath.Join(postgrestest.BinDir(b, "psql"), "psql")
	dir := b.TempDir()
	csvFile, jsonFile := filepath.Join(dir, "users.csv"), filepath.Join(dir, "users.jsonl")
	writeFiles(b, csvFile, jsonFile, rows)

	seconds := make(map[string][]float64)
	took := func(system string, load func(url string)) {
		url := storetest.PostgresDatabaseURL(b) // psql takes no search_path in a URL
		checkpoint(b, url)
		start := time.Now()
		load(url)
		seconds[system] = append(seconds[system], time.Since(start).Seconds())
		if n := count(b, storetest.OpenPostgres(b, url)); n != rows {
			b.Fatalf("%s: %d accounts; want %d", system, n, rows)
		}
	}
	for b.Loop() {
		took("copy", func(url string) {
			command := exec.Command(psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname="+url,
				"--command=\\copy users("+strings.Join(columns, ",")+") from '"+csvFile+"' with (format csv, header true)")
			if output, err := command.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, output)
			}
		})
		took("csv", func(url string) { importFile(b, storetest.OpenPostgres(b, url), csvFile, bulk.CSV, rows) })
		took("jsonl", func(url string) { importFile(b, storetest.OpenPostgres(b, url), jsonFile, bulk.JSONLines, rows) })
	}
	copying := median(seconds["copy"])
	for _, system := range []string{"copy", "csv", "jsonl"} {
		b.Logf("%-5s %v s: %.0f rows/s, %.2f of \\copy", system, seconds[system], float64(rows)/median(seconds[system]), copying/median(seconds[system]))
		b.ReportMetric(float64(rows)/median(seconds[system]), system+"_rows/s")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(peakMemory(b), "peak_MiB")
}

func importFile(b *testing.B, store *infra.Store, name string, format bulk.Format, rows int) {
	b.Helper()
	file, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	hasher, err := password.New(password.Policy{})
	if err != nil {
		b.Fatal(err)
	}
	summary, err := bulk.Import(context.Background(), store, file, bulk.Options{
		Format:    format,
		CheckHash: hasher.Check,
		Refused:   func(line int, err error) error { return fmt.Errorf("line %d: %w", line, err) },
	})
	if err != nil || summary.Imported != rows {
		b.Fatalf("%+v, %v", summary, err)
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// checkpoint lets each system begin with no writes of an earlier one outstanding. Only a superuser may.
func checkpoint(b *testing.B, url string) {
	b.Helper()
	if _, err := storetest.OpenPostgres(b, url).DB().Exec("CHECKPOINT"); err != nil {
		b.Logf("no checkpoint: %v", err)
	}
}

// peakMemory returns the most memory that this process has had resident, in MiB; 0 where Linux does not tell.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kib float64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// writeFiles writes the same accounts as CSV and as JSON lines.
func writeFiles(b *testing.B, csvName, jsonName string, rows int) {
	b.Helper()
	var files []*os.File
	var writers []*bufio.Writer
	for _, name := range []string{csvName, jsonName} {
		file, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		files, writers = append(files, file), append(writers, bufio.NewWriter(file))
	}
	comma, lines := csv.NewWriter(writers[0]), json.NewEncoder(writers[1])
	err := comma.Write(columns)
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range rows {
		at := begin.Add(time.Duration(i) * 97 * time.Second).Format(time.RFC3339)
		name := fmt.Sprintf("user%d_%x", i, i*7919%rows)
		cells := []string{
			uuid.NewString(), name + "@mail" + strconv.Itoa(i%97) + ".example.org", name, hash, "First" + strconv.Itoa(i%1000), "Last-Name" + strconv.Itoa(i%5000),
			fmt.Sprintf("+57%010d", i), "true", strconv.FormatBool(i%3 > 0), at, at, at,
		}
		object := make(map[string]any, len(cells))
		for j, cell := range cells {
			object[columns[j]] = cell
			if strings.HasPrefix(columns[j], "is_") {
				object[columns[j]] = cell == "true"
			}
		}
		err = errors.Join(err, comma.Write(cells), lines.Encode(object))
	}
	comma.Flush()
	for i := range files {
		err = errors.Join(err, writers[i].Flush(), files[i].Close())
	}
	if err := errors.Join(err, comma.Error()); err != nil && !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
}
