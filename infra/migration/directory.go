package migration

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
)

// directory is a directory of migrations, read and verified.
type directory struct {
	atlas *migrate.MemDir
	files []*file // in the order of their versions
}

// file is a migration as the directory holds it.
type file struct {
	*migrate.LocalFile
	sum           string // its line of atlas.sum, which depends on the files before it
	statements    []*migrate.Stmt
	transactional bool
}

func readDirectory(dir fs.FS, database database) (*directory, error) {
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return nil, err
	}
	d := &directory{atlas: new(migrate.MemDir)}
	for _, name := range append(names, migrate.HashFileName) {
		content, err := fs.ReadFile(dir, name)
		if errors.Is(err, fs.ErrNotExist) && name == migrate.HashFileName {
			continue // Validate says so, if there are files
		}
		if err != nil {
			return nil, err
		}
		if err := d.atlas.WriteFile(name, content); err != nil {
			return nil, err
		}
	}
	if err := migrate.Validate(d.atlas); err != nil {
		return nil, invalidSum(err)
	}

	sums, err := d.atlas.Checksum()
	if err != nil {
		return nil, err
	}
	files, err := d.atlas.Files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		read, err := readFile(f, sums, database)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", f.Name(), err)
		}
		d.files = append(d.files, read)
	}
	return d, nil
}

func readFile(f migrate.File, sums migrate.HashFile, database database) (*file, error) {
	local, ok := f.(*migrate.LocalFile)
	if !ok {
		return nil, errors.New("not a plain file")
	}
	if local.IsCheckpoint() {
		return nil, refuse(domain.ErrInvalid, "checkpoints are not supported")
	}
	sum, err := sums.SumByName(f.Name())
	if err != nil {
		return nil, refuse(domain.ErrChecksum, "atlas.sum does not know it")
	}
	statements, err := database.scan(string(f.Bytes()))
	if err != nil {
		return nil, err
	}
	transactional := true
	switch mode := local.Directive("txmode"); {
	case len(mode) == 1 && mode[0] == "none":
		transactional = false
	case len(mode) > 1, len(mode) == 1 && mode[0] != "file":
		return nil, refuse(domain.ErrInvalid, `atlas:txmode must be "none" or "file"`)
	}
	return &file{local, sum, statements, transactional}, nil
}

func invalidSum(err error) error {
	var mismatch *migrate.ChecksumError
	switch {
	case errors.As(err, &mismatch):
		return refuse(domain.ErrChecksum, "migration %s was %s, says atlas.sum; if that was on purpose, run: atlas migrate hash",
			mismatch.File, mismatch.Reason)
	case errors.Is(err, migrate.ErrChecksumNotFound):
		return refuse(domain.ErrChecksum, "atlas.sum is missing; run: atlas migrate hash")
	case errors.Is(err, migrate.ErrChecksumFormat), errors.Is(err, migrate.ErrChecksumMismatch):
		return refuse(domain.ErrChecksum, "atlas.sum is damaged; run: atlas migrate hash")
	}
	return err
}

// line returns the line, counted from 1, at which a statement begins.
func (f *file) line(statement *migrate.Stmt) int {
	text := string(f.Bytes())
	// Atlas does not count the line that sets a delimiter.
	start := statement.Pos + max(0, strings.Index(text[statement.Pos:], statement.Text))
	return 1 + strings.Count(text[:start], "\n")
}

// failure describes an error of a statement that was only tried out.
func (f *file) failure(statement *migrate.Stmt, err error) error {
	return fmt.Errorf("%s, line %d: %w", f.Name(), f.line(statement), failure("execute", err))
}
