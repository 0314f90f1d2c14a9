// Package bulk reads accounts from files, of any size, into a store.
package bulk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
)

// Store is what an import needs of a store; *infra.Store is one.
type Store interface {
	// CreateMany stores accounts as if [domain.UserWriter]'s Create were called for one after the other, and returns for
	// each what Create would have returned.
	CreateMany(ctx context.Context, users []*domain.User) ([]error, error)

	LinkIdentity(ctx context.Context, id domain.ID, identity domain.Identity) (domain.LinkedIdentity, error)
	FindByIdentity(ctx context.Context, identity domain.Identity) (*domain.User, error)
	FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error)
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

// Import stores the accounts of a file. Each must have the fields email, username and hashed_password, and may have id,
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
	for _, r := range i.batch {
		err := r.err
		if err == nil {
			err = outcomes[stored]
			stored++
			var count *int
			switch {
			case err == nil:
				count = &i.summary.Imported
			case isStored(err, r.newID):
				count = &i.summary.Skipped
			}
			if count != nil {
				refused, failed := i.link(ctx, r)
				if failed != nil {
					return failed
				}
				if refused == nil {
					*count++
					continue
				}
				err = refused
			}
		}
		i.summary.Failed++
		if i.options.Refused == nil {
			continue
		}
		if err := i.options.Refused(r.line, err); err != nil {
			return err
		}
	}
	i.batch = i.batch[:0]
	return nil
}

// link links the identities of a row to its account, which is stored. It returns why one cannot be linked, or an error of the store.
func (i *importer) link(ctx context.Context, r row) (refused, failed error) {
	if len(r.links) == 0 {
		return nil, nil
	}
	id := r.user.ID()
	if r.newID { // it may have been stored by an earlier import, with another
		u, err := i.store.FindByEmail(ctx, r.user.Email())
		if err != nil {
			return nil, err
		}
		id = u.ID()
	}
	for _, identity := range r.links {
		_, err := i.store.LinkIdentity(ctx, id, identity)
		if errors.Is(err, domain.ErrTaken) {
			holder, findErr := i.store.FindByIdentity(ctx, identity)
			if findErr == nil && holder.ID() == id {
				continue
			}
			return err, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
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
	number  int
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
		text, tooLong, err := lines.appendLine(c.text)
		if err != nil {
			return c, err
		}
		if lines.number == 1 {
			text = withoutBOM(text)
		}
		c.text = text
		c.lines = append(c.lines, line{number: lines.number, end: len(text), tooLong: tooLong})
	}
	return c, nil
}

// rows parses the lines of a chunk. Blank lines are none.
func (c chunk) rows(parse parser, checkHash func(domain.PasswordHash) error) []row {
	rows := make([]row, 0, len(c.lines))
	now := time.Now()
	start := 0
	var d draft
	for _, l := range c.lines {
		text := c.text[start:l.end]
		start = l.end
		switch {
		case l.tooLong:
			rows = append(rows, row{line: l.number, err: errTooLong})
		case len(bytes.TrimSpace(text)) > 0:
			d = draft{}
			r := row{line: l.number}
			if r.err = parse(text, &d); r.err == nil {
				r.user, r.err = d.user(checkHash, now)
				r.links = d.identities
			}
			r.newID = d.id.IsZero()
			rows = append(rows, r)
		}
	}
	return rows
}
