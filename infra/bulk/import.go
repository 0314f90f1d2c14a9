// Package bulk reads accounts from files, of any size, into a store.
package bulk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
)

// Store is what an import needs of a store; *infra.Store is one.
type Store interface {
	// CreateMany stores accounts as if [domain.UserWriter]'s Create were called for one after the other, and returns for
	// each what Create would have returned.
	CreateMany(ctx context.Context, users []*domain.User) ([]error, error)

	// LinkMany links identities, and returns for each nil, also where it was linked to that account before, or why it cannot be.
	LinkMany(ctx context.Context, links []domain.LinkedIdentity) ([]error, error)

	FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error)
	FindByEmails(ctx context.Context, emails []domain.Email) ([]*domain.User, error)
}

// Options say how Import works.
type Options struct {
	Format Format

	// CheckHash returns an error for a password hash that is not to be imported; see the Check method of
	// infra/password's Hasher. Nil admits every text, and no hash at all: such accounts cannot sign in until their
	// password is reset.
	CheckHash func(domain.PasswordHash) error

	// Refused is called, in the order of the file, for each account that is not imported and not there already, with its
	// line, counted from 1, and a [domain.Error]. Its own error ends the import.
	Refused func(line int, err error) error
}

// Summary counts accounts.
type Summary struct {
	Imported int // stored now
	Skipped  int // there already
	Failed   int // refused
}

const (
	batchRows  = 5000     // stored in one transaction
	chunkLines = 256      // parsed by one goroutine at a time …
	chunkBytes = 64 << 10 // … unless they are long
)

// Import stores the accounts of a file. An account with the field version, as an export has it, is stored as it was, by its form alone. Any other one
// must have the fields email, username and hashed_password, and may have id,
// first_name, last_name, phone, phone_verified_at, is_active (default true), is_verified (default false), last_login, failed_login_attempts,
// locked_until, created_at (default: now), updated_at (default: created_at), pending_email and, in JSON, identities. All are brought into the form that a new
// account's have; a row that breaks a rule is refused, and the others go on. A line is at most 1 MiB.
//
// A row is skipped, and the stored account left as it is, when its id is stored already or, where it has none, its e-mail
// address. So an import that was interrupted, whatever by, is completed by running it again. A row with an id of its own
// whose address belongs to another account is refused, like any whose username or phone does, be that account of the same
// file.
//
// Identities are linked once the account is stored, also to one that was there already. Where one is another account's, the row is
// refused, and the account is stored without it.
//
// It takes the same memory for any number of rows: some 5000 are in hand at once. The accounts of a batch of that many
// are stored in one transaction, and those of earlier batches stay stored when an error ends the import: that of ctx, of
// the store, of options.Refused, [domain.ErrUnavailable] for a file that cannot be read, or [domain.ErrInvalid] for a CSV header. When
// ctx ends while a read of file blocks, the read is left behind.
func Import(ctx context.Context, store Store, file io.Reader, options Options) (Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the goroutines
	i := importer{store: store, options: options}
	chunks, end := parse(ctx, file, options)
	for {
		select {
		case <-ctx.Done():
			return i.summary, ctx.Err()
		case chunk, ok := <-chunks:
			if !ok {
				if err := i.flush(ctx); err != nil {
					return i.summary, err
				}
				return i.summary, <-end
			}
			select {
			case <-ctx.Done():
				return i.summary, ctx.Err()
			case rows := <-chunk:
				i.batch = append(i.batch, rows...)
			}
		}
		if len(i.batch) >= batchRows {
			if err := i.flush(ctx); err != nil {
				return i.summary, err
			}
		}
	}
}

type importer struct {
	store   Store
	options Options
	batch   []row
	users   []*domain.User // of the batch, those to store
	summary Summary
}

// flush stores the batch, and counts and reports its rows.
func (i *importer) flush(ctx context.Context) error {
	i.users = i.users[:0]
	for _, r := range i.batch {
		if r.err == nil {
			i.users = append(i.users, r.user)
		}
	}
	var outcomes []error
	if len(i.users) > 0 {
		var err error
		if outcomes, err = i.store.CreateMany(ctx, i.users); err != nil {
			return err
		}
	}
	stored := 0
	for n := range i.batch {
		if r := &i.batch[n]; r.err == nil {
			r.err = outcomes[stored]
			r.skipped = r.err != nil && isStored(r.err, r.newID)
			if r.skipped {
				r.err = nil
			}
			stored++
		}
	}
	if err := i.link(ctx); err != nil {
		return err
	}
	for _, r := range i.batch {
		switch {
		case r.err != nil:
			i.summary.Failed++
			if i.options.Refused == nil {
				continue
			}
			if err := i.options.Refused(r.line, r.err); err != nil {
				return err
			}
		case r.skipped:
			i.summary.Skipped++
		default:
			i.summary.Imported++
		}
	}
	i.batch = i.batch[:0]
	return nil
}

// link links the identities of the batch to its accounts, which are stored. A row of which one cannot be linked is refused.
func (i *importer) link(ctx context.Context) error {
	if err := i.findStored(ctx); err != nil {
		return err
	}
	var links []domain.LinkedIdentity
	var rows []*row // of the links
	for n := range i.batch {
		r := &i.batch[n]
		if r.err != nil {
			continue
		}
		for _, link := range r.links {
			link.UserID = r.user.ID()
			links, rows = append(links, link), append(rows, r)
		}
	}
	if len(links) == 0 {
		return nil
	}
	refusals, err := i.store.LinkMany(ctx, links)
	if err != nil {
		return err
	}
	for n, refusal := range refusals {
		rows[n].err = cmp.Or(rows[n].err, refusal)
	}
	return nil
}

// findStored replaces the accounts of rows with identities that were skipped for their addresses: what is stored has other IDs.
func (i *importer) findStored(ctx context.Context) error {
	var rows []*row
	for n := range i.batch {
		if r := &i.batch[n]; r.err == nil && r.skipped && r.newID && len(r.links) > 0 {
			rows = append(rows, r)
		}
	}
	for rows := range slices.Chunk(rows, domain.MaxBatch) {
		emails := make([]domain.Email, len(rows))
		for n, r := range rows {
			emails[n] = r.user.Email()
		}
		users, err := i.store.FindByEmails(ctx, emails)
		if err != nil && !errors.Is(err, domain.ErrInvalid) {
			return err
		}
		for n, r := range rows {
			if r.user = users[n]; r.user != nil {
				continue
			}
			r.user, err = i.store.FindByEmail(ctx, emails[n])
			if err != nil && !errors.Is(err, domain.ErrNotFound) && !errors.Is(err, domain.ErrInvalid) {
				return err
			}
			r.err = err // deleted meanwhile, or malformed
		}
	}
	return nil
}

// isStored tells whether the error of Create says that the account of a row is there already.
func isStored(err error, newID bool) bool {
	detail, ok := errors.AsType[*domain.Error](err)
	return ok && (detail.Kind == domain.ErrConflict && detail.Field == "id" ||
		newID && detail.Kind == domain.ErrTaken && detail.Field == "email")
}

// chunk is some lines of a file, which are parsed together.
type chunk struct {
	text   []byte
	lines  []line
	parsed chan []row // takes the rows without waiting
}

type line struct {
	number  int // of the first, where a quoted field has line ends
	end     int // in the chunk's text
	tooLong bool
}

// parse reads a file and parses it on all processors. It returns the rows of its chunks in their order and, after them,
// one error or nil.
func parse(ctx context.Context, file io.Reader, options Options) (<-chan chan []row, <-chan error) {
	workers := runtime.GOMAXPROCS(0)
	ordered := make(chan chan []row, batchRows/chunkLines) // so much is parsed while a batch is being stored
	work := make(chan chunk)
	end := make(chan error, 1)
	go func() {
		defer close(ordered)
		defer close(work)
		lines := newLineReader(file)
		newParser, err := parsers(options.Format, lines)
		if err != nil {
			end <- err
			return
		}
		var running sync.WaitGroup
		for range workers {
			running.Go(func() {
				parse := newParser()
				for c := range work {
					c.parsed <- c.rows(parse, options.CheckHash)
				}
			})
		}
		end <- readChunks(ctx, lines, work, ordered)
	}()
	return ordered, end
}

// readChunks hands out the lines of a file until it or ctx ends.
func readChunks(ctx context.Context, lines *lineReader, work chan<- chunk, ordered chan<- chan []row) error {
	for {
		c, err := readChunk(lines)
		if len(c.lines) > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case ordered <- c.parsed:
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case work <- c:
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unreadable(err)
		}
	}
}

func readChunk(lines *lineReader) (chunk, error) {
	c := chunk{
		text:   make([]byte, 0, chunkBytes+chunkBytes/8), // the last line goes beyond
		lines:  make([]line, 0, chunkLines),
		parsed: make(chan []row, 1),
	}
	for len(c.lines) < chunkLines && len(c.text) < chunkBytes {
		text, number, tooLong, err := lines.appendLine(c.text)
		if err != nil {
			return c, err
		}
		if number == 1 {
			text = withoutBOM(text)
		}
		c.text = text
		c.lines = append(c.lines, line{number: number, end: len(text), tooLong: tooLong})
	}
	return c, nil
}

// rows parses the lines of a chunk. Blank lines are none.
func (c chunk) rows(parse parser, checkHash func(domain.PasswordHash) error) []row {
	rows := make([]row, 0, len(c.lines))
	now := time.Now()
	start := 0
	for _, l := range c.lines {
		text := c.text[start:l.end]
		start = l.end
		switch {
		case l.tooLong:
			rows = append(rows, row{line: l.number, err: errTooLong})
		case len(bytes.TrimSpace(text)) > 0:
			r, ok := parseRow(parse, text, l.number, checkHash, now)
			if ok && errors.Is(r.err, errNotCSV) && bytes.IndexByte(text, '\n') >= 0 { // a quote was out of place: each line for itself
				for n, text := range bytes.Split(text, []byte("\n")) {
					if r, ok := parseRow(parse, bytes.TrimSuffix(text, []byte("\r")), l.number+n, checkHash, now); ok {
						rows = append(rows, r)
					}
				}
				continue
			}
			if ok {
				rows = append(rows, r)
			}
		}
	}
	return rows
}

// parseRow returns false for a line without a value.
func parseRow(parse parser, text []byte, number int, checkHash func(domain.PasswordHash) error, now time.Time) (row, bool) {
	var d draft
	r := row{line: number}
	if r.err = parse(text, &d); r.err == nil {
		r.user, r.links, r.err = d.user(checkHash, now)
	}
	r.newID = d.id.IsZero()
	return r, len(bytes.TrimSpace(text)) > 0 && !errors.Is(r.err, errBlank)
}
