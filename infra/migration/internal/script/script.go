// Package script reads directories of migrations, and says what went wrong with a statement. It is shared by the runner and the
// planner, and links nothing of Atlas that knows a database.
package script

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
)

// The databases, as database/sql and ent name them.
const (
	Postgres = "postgres"
	SQLite   = "sqlite3"
)

// Directory is a directory of migrations, read and verified.
type Directory struct {
	Atlas *migrate.MemDir
	Files []*File // in the order of their versions
}

// File is a migration as the directory holds it.
type File struct {
	*migrate.LocalFile
	Sum           string // its line of atlas.sum, which depends on the files before it
	Statements    []*migrate.Stmt
	Transactional bool
}

var (
	beginsTransaction = regexp.MustCompile(`(?i)^(BEGIN|START\s+TRANSACTION)\b|^(COMMIT|END|ABORT|ROLLBACK)\b[^;]*\bAND\s+CHAIN\b`)
	endsTransaction   = regexp.MustCompile(`(?i)^(COMMIT|END|ABORT|ROLLBACK|PREPARE\s+TRANSACTION)\b`)
	// keepsTransaction finds what begins like the end of a transaction and is none.
	keepsTransaction = regexp.MustCompile(`(?i)^(COMMIT|ROLLBACK)\s+PREPARED\b|^ROLLBACK\s+((WORK|TRANSACTION)\s+)?TO\b`)
)

// Begins tells whether a statement begins a transaction. One that ends a transaction and begins the next, COMMIT AND CHAIN, does.
func Begins(statement string) bool { return beginsTransaction.MatchString(statement) }

// Ends tells whether a statement ends the transaction in which it stands.
func Ends(statement string) bool {
	return endsTransaction.MatchString(statement) && !keepsTransaction.MatchString(statement)
}

// Unbalanced returns the first statement of a transactional file that ends the transaction or begins another; of a file without one, the
// statement that begins a transaction which the file does not end. It returns nil if there is none.
func (f *File) Unbalanced() *migrate.Stmt {
	var open *migrate.Stmt
	for _, statement := range f.Statements {
		switch begins, ends := Begins(statement.Text), Ends(statement.Text); {
		case f.Transactional && (begins || ends):
			return statement
		case begins:
			open = statement
		case ends:
			open = nil
		}
	}
	return open
}

var (
	// Concurrently finds CREATE, DROP and REINDEX INDEX CONCURRENTLY.
	Concurrently = regexp.MustCompile(`(?i)\bINDEX\s+CONCURRENTLY\b`)
	// CreatesConcurrently finds the name of the index in CREATE INDEX CONCURRENTLY.
	CreatesConcurrently = regexp.MustCompile(
		`(?i)^CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(IF\s+NOT\s+EXISTS\s+)?("(?:[^"]|"")+"|\w+)`)
)

// Replayed returns the files that lead from nothing to the end: a checkpoint among them repeats what the files before it
// make, and is left out.
func (d *Directory) Replayed() []*File {
	var files []*File
	for i, f := range d.Files {
		if i == 0 || !f.IsCheckpoint() {
			files = append(files, f)
		}
	}
	return files
}

// Texts returns the statements as they are written.
func (f *File) Texts() []string {
	texts := make([]string, len(f.Statements))
	for i, statement := range f.Statements {
		texts[i] = statement.Text
	}
	return texts
}

// Scan splits a text into statements as Atlas's command line does for a database.
func Scan(dialect, text string) ([]*migrate.Stmt, error) {
	options := migrate.ScannerOptions{MatchBegin: true}
	if dialect == Postgres {
		options.MatchBeginAtomic, options.MatchDollarQuote, options.EscapedStringExt = true, true, true
	}
	return (&migrate.Scanner{ScannerOptions: options}).Scan(text)
}

// embedded are the directories within the program that were read, which cannot change: a function for each.
var embedded sync.Map

// Read reads a directory; one that is embedded in the program only once, so that what the result holds is shared, and only read. The error is a [domain.ErrChecksum]
// if a file does not match atlas.sum.
func Read(dir fs.FS, dialect string) (*Directory, error) {
	files, ok := dir.(embed.FS)
	if !ok {
		return read(dir, dialect)
	}
	type key struct {
		files   embed.FS
		dialect string
	}
	once, _ := embedded.LoadOrStore(key{files, dialect}, sync.OnceValues(func() (*Directory, error) { return read(dir, dialect) }))
	d, err := once.(func() (*Directory, error))()
	if err != nil {
		return nil, err
	}
	own := *d
	return &own, nil
}

func read(dir fs.FS, dialect string) (*Directory, error) {
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return nil, err
	}
	d := &Directory{}
	if d.Atlas, err = load(dir, names, keep); err != nil {
		return nil, err
	}
	if err := migrate.Validate(d.Atlas); err != nil {
		// Git may have given the files the ends of lines of Windows after they were hashed.
		var loadErr error
		if d.Atlas, loadErr = load(dir, names, unixLines); loadErr != nil {
			return nil, loadErr
		}
		if migrate.Validate(d.Atlas) != nil {
			return nil, invalidSum(err)
		}
	}

	sums, err := d.Atlas.Checksum()
	if err != nil {
		return nil, err
	}
	files, err := d.Atlas.Files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		read, err := readFile(f, sums, dialect)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", f.Name(), err)
		}
		d.Files = append(d.Files, read)
	}
	return d, nil
}

// load reads the named files, and atlas.sum if there is one.
func load(dir fs.FS, names []string, convert func([]byte) []byte) (*migrate.MemDir, error) {
	loaded := new(migrate.MemDir)
	for _, name := range append(slices.Clip(names), migrate.HashFileName) {
		content, err := fs.ReadFile(dir, name)
		if errors.Is(err, fs.ErrNotExist) && name == migrate.HashFileName {
			continue // Validate says so, if there are files
		}
		if err != nil {
			return nil, err
		}
		if err := loaded.WriteFile(name, convert(content)); err != nil {
			return nil, err
		}
	}
	return loaded, nil
}

func keep(text []byte) []byte { return text }

func unixLines(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) }

func readFile(f migrate.File, sums migrate.HashFile, dialect string) (*File, error) {
	local, ok := f.(*migrate.LocalFile)
	if !ok {
		return nil, errors.New("not a plain file")
	}
	// Atlas reads no directive before a carriage return, and would run such a file in another way than is meant.
	if text := string(f.Bytes()); strings.Contains(text, "\r\n") && strings.Contains(text, "-- atlas:") {
		return nil, Refuse(domain.ErrInvalid, `has lines that end in CR LF, with which its "-- atlas:" comments have no effect; `+
			"let them end in LF, and run: accounts migrate hash")
	}
	sum, err := sums.SumByName(f.Name())
	if err != nil {
		return nil, Refuse(domain.ErrChecksum, "atlas.sum does not know it")
	}
	statements, err := Scan(dialect, string(f.Bytes()))
	if err != nil {
		return nil, err
	}
	transactional := true
	switch mode := local.Directive("txmode"); {
	case len(mode) == 1 && mode[0] == "none":
		transactional = false
	case len(mode) > 1, len(mode) == 1 && mode[0] != "file":
		return nil, Refuse(domain.ErrInvalid, `atlas:txmode must be "none" or "file"`)
	}
	return &File{local, sum, statements, transactional}, nil
}

func invalidSum(err error) error {
	var mismatch *migrate.ChecksumError
	switch {
	case errors.As(err, &mismatch):
		return Refuse(domain.ErrChecksum, "migration %s was %s, says atlas.sum; if that was on purpose, run: atlas migrate hash",
			mismatch.File, mismatch.Reason)
	case errors.Is(err, migrate.ErrChecksumNotFound):
		return Refuse(domain.ErrChecksum, "atlas.sum is missing; run: atlas migrate hash")
	case errors.Is(err, migrate.ErrChecksumFormat), errors.Is(err, migrate.ErrChecksumMismatch):
		return Refuse(domain.ErrChecksum, "atlas.sum is damaged; run: atlas migrate hash")
	}
	return err
}

// Line returns the line, counted from 1, at which a statement begins.
func (f *File) Line(statement *migrate.Stmt) int {
	text := string(f.Bytes())
	// Atlas does not count the line that sets a delimiter.
	start := statement.Pos + max(0, strings.Index(text[statement.Pos:], statement.Text))
	return 1 + strings.Count(text[:start], "\n")
}

// Failure describes an error of a statement that was only tried out.
func (f *File) Failure(statement *migrate.Stmt, err error) error {
	return fmt.Errorf("%s, line %d: %w", f.Name(), f.Line(statement), Failure("execute", err))
}
