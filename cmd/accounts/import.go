package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/bulk"
)

// fromStdin is the FILE that stands for standard input.
const fromStdin = "-"

func (p *program) userImportCommand() *cobra.Command {
	var format, refused string
	var anyHash, events bool
	const example = `accounts user import users.csv
accounts user export --with-hashes | accounts --database sqlite:copy.db user import
accounts user import legacy.jsonl --any-hash --errors refused.jsonl`
	c := p.command("import [FILE]", "Create the accounts of a file", example, cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		options, err := importOptions(append(args, fromStdin)[0], format, anyHash)
		if err != nil {
			return err
		}
		file, err := p.openImport(append(args, fromStdin)[0])
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // it was only read
		if !events {
			p.silent = []domain.EventKind{domain.EventImported, domain.EventIdentityLinked}
		}
		return p.withStore(ctx, func(store *infra.Store) (err error) {
			refusals, err := p.openRefusals(file, refused)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, refusals.close()) }()
			options.Refused = refusals.write
			summary, err := bulk.Import(ctx, store, file, options)
			file.clearBar()
			if err == nil || summary != (bulk.Summary{}) {
				err = errors.Join(err, p.print(record{{"imported", summary.Imported}, {"skipped", summary.Skipped}, {"failed", summary.Failed}}))
			}
			if err == nil && summary.Failed > 0 {
				err = &domain.Error{Kind: domain.ErrInvalid, Reason: fmt.Sprintf("%d of the accounts were refused; %s says why", summary.Failed, refusals.name)}
			}
			return err
		})
	})
	c.Long = `Create the accounts of a file, or of standard input: JSON lines, or CSV with the names of the fields in the first line.

Every account has email, username and hashed_password, and may have id, first_name, last_name, phone, is_active,
is_verified, last_login, failed_login_attempts, locked_until, created_at and updated_at. What "user export --with-hashes"
writes can be read.

An account that is stored already, by its id or, if it has none, by its address, is skipped and stays as it is. An import that
was interrupted is completed by running it again. Accounts that break a rule, or collide with others, are refused one by
one: a line of JSON says why. If there are any, the exit status is 1.`
	c.Flags().StringVar(&format, "format", "", "jsonl or csv (default: what the file's name says, jsonl for standard input)")
	c.Flags().StringVar(&refused, "errors", "", "where to write why accounts are refused (default FILE.errors.jsonl, or standard error)")
	c.Flags().BoolVar(&anyHash, "any-hash", false,
		"also accounts whose hash is weak, unknown or absent; they cannot sign in here until their password is reset")
	c.Flags().BoolVar(&events, "events", false, "write an event for each account, which takes several times as long")
	complete(c, "format", string(bulk.JSONLines), string(bulk.CSV))
	return c
}

func importOptions(name, format string, anyHash bool) (options bulk.Options, err error) {
	switch {
	case format != "":
		options.Format, err = bulk.ParseFormat(format)
	case name == fromStdin:
		options.Format = bulk.JSONLines
	default:
		options.Format, err = bulk.FormatOf(name)
	}
	if err != nil || anyHash {
		return options, err
	}
	hasher, err := newHasher()
	if err != nil {
		return options, err
	}
	options.CheckHash = hasher.Check
	return options, nil
}

// importFile is what an import reads, with a bar for how much of it was read.
type importFile struct {
	io.Reader
	file *os.File // nil for standard input
	bar  *progressbar.ProgressBar
}

func (p *program) openImport(name string) (*importFile, error) {
	if name == fromStdin {
		if p.terminal != nil {
			return nil, usageError{"no FILE to import, and standard input is a terminal"}
		}
		return &importFile{Reader: p.lines}, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, invalid("file", "cannot be opened: "+systemReason(errors.Unwrap(err)))
	}
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		return nil, errors.Join(invalid("file", "cannot be read"), file.Close())
	}
	opened := &importFile{Reader: file, file: file}
	if p.newProgress().terminal && info.Mode().IsRegular() {
		opened.bar = progressbar.NewOptions64(info.Size(),
			progressbar.OptionSetWriter(p.messages),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
		opened.Reader = io.TeeReader(file, opened.bar)
	}
	return opened, nil
}

func (f *importFile) clearBar() {
	if f.bar != nil {
		_ = f.bar.Clear()
	}
}

func (f *importFile) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// refusals is where it is written why accounts are not imported.
type refusals struct {
	name  string // for people
	w     io.Writer
	file  *os.File // nil for standard error
	count int
}

func (p *program) openRefusals(from *importFile, name string) (*refusals, error) {
	if from.file == nil && name == "" {
		return &refusals{name: "standard error", w: p.messages}, nil
	}
	if name == "" {
		name = from.file.Name() + ".errors.jsonl"
	}
	if err := differ(from.file, name); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, invalid("errors", "cannot be written: "+systemReason(errors.Unwrap(err)))
	}
	return &refusals{name: name, w: file, file: file}, nil
}

// differ refuses to overwrite the file that is about to be read.
func differ(file *os.File, name string) error {
	if file == nil {
		return nil
	}
	reading, err := file.Stat()
	if err != nil {
		return invalid("file", "cannot be read")
	}
	if writing, err := os.Stat(name); err == nil && os.SameFile(reading, writing) {
		return usageError{"--errors names the file that is to be imported"}
	}
	return nil
}

// write writes why the account of a line is refused. Such an error has been made here, and quotes nothing of the line.
func (r *refusals) write(line int, err error) error {
	r.count++
	if err := writeJSON(r.w, record{{"line", line}, {"error", errorRecord(domain.KindOf(err), err.Error(), err)}}); err != nil {
		return &domain.Error{Kind: domain.ErrUnavailable, Field: "errors", Reason: "cannot be written: " + systemReason(err)}
	}
	return nil
}

// close leaves no file behind in which there is nothing.
func (r *refusals) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	if info, statErr := os.Stat(r.name); r.count == 0 && statErr == nil && info.Mode().IsRegular() {
		err = cmp.Or(err, os.Remove(r.name))
	}
	if err != nil {
		return &domain.Error{Kind: domain.ErrUnavailable, Field: "errors", Reason: "cannot be written: " + systemReason(err)}
	}
	return nil
}
