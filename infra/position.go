package infra

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/softbee/accounts/domain"
)

// Position is a place in the write-ahead log of a PostgreSQL primary: a read from there on sees all that was committed before it was asked for. The zero
// Position is before everything.
type Position struct {
	timeline uint32 // rises with each promotion; positions of one timeline have an order
	lsn      uint64
}

// IsZero tells whether it is the zero Position.
func (p Position) IsZero() bool { return p == Position{} }

// String returns the text that [ParsePosition] takes, such as "1-0/16B3748": the timeline, and what PostgreSQL calls pg_lsn. The zero Position is "".
func (p Position) String() string {
	if p.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d-%X/%X", p.timeline, p.lsn>>32, uint32(p.lsn))
}

// ParsePosition is the inverse of String. It returns [domain.ErrInvalid] on the field "position". A text from a client may be taken: one that was made up sends
// the reads of that client to the primary, and no more.
func ParsePosition(text string) (Position, error) {
	if text == "" {
		return Position{}, nil
	}
	timeline, lsn, found := strings.Cut(text, "-")
	n, err := strconv.ParseUint(timeline, 10, 32)
	if err != nil || !found || n == 0 {
		return Position{}, invalid("position", "is not of the form TIMELINE-X/X")
	}
	at, err := parseLSN(lsn)
	return Position{uint32(n), at}, err
}

// parseLSN reads a pg_lsn.
func parseLSN(text string) (uint64, error) {
	high, low, found := strings.Cut(text, "/")
	h, err1 := strconv.ParseUint(high, 16, 32)
	l, err2 := strconv.ParseUint(low, 16, 32)
	if !found || err1 != nil || err2 != nil {
		return 0, invalid("position", "is not of the form TIMELINE-X/X")
	}
	return h<<32 | l, nil
}

type positionKey struct{}

// WithPosition returns a context whose reads see at least what was committed before the position: what another process has written, and then said how far
// it is. It matters to a store with replicas only.
func WithPosition(ctx context.Context, position Position) context.Context {
	return context.WithValue(ctx, positionKey{}, position)
}

// Position asks the primary, in one round trip, how far it is: a position behind all changes that were committed before the call, by this store, by the
// application's own statements or by anybody else. From then on, this store's reads see at least those, and so do those of another process under
// [WithPosition]. SQLite has the zero Position only: every read sees all that was committed.
//
// It returns [domain.ErrUnavailable].
func (s *Store) Position(ctx context.Context) (Position, error) {
	const op = "ask for the position"
	if s.dialect.position == "" {
		return Position{}, s.ended(ctx, op)
	}
	var before int64
	if s.replicas != nil {
		before = s.replicas.written.Add(1) // so that the position counts for the reads
	}
	primaries, err := collect(ctx, &s.repository, op, s.dialect.position, nil, scanPrimary)
	if err != nil {
		return Position{}, err
	}
	if !primaries[0].writable {
		return Position{}, wrap(op, &domain.Error{Kind: domain.ErrUnavailable, Reason: "the database is read-only; expected one that can be written"})
	}
	if s.replicas != nil {
		s.replicas.raise(primaries[0], before)
	}
	return primaries[0].position, nil
}

// primary is what a server that takes writes says of itself.
type primary struct {
	position Position
	cluster  string // its system identifier
	writable bool
}

func scanPrimary(rows Rows) (p primary, err error) {
	var file, lsn string // absent on a server that takes no writes
	if err := rows.Scan(&p.cluster, &file, &lsn, &p.writable); err != nil || !p.writable {
		return p, err
	}
	timeline, err := strconv.ParseUint(file[:min(8, len(file))], 16, 32)
	if err != nil {
		return p, fmt.Errorf("the name of a WAL file: %w", err)
	}
	p.position.timeline = uint32(timeline)
	if p.position.lsn, err = parseLSN(lsn); err != nil {
		return p, err
	}
	// Where the last record ends with its page, what comes next is behind the next page's header, of 24 or 40 bytes, which a replica reaches with the
	// next record only. No record ends in between.
	const page = 8192
	if header := p.position.lsn % page; header == 24 || header == 40 {
		p.position.lsn -= header
	}
	return p, nil
}
