package migration

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/migration/internal/script"
)

// operator is what the history says about who applied a file.
const operator = "accounts"

// cloudIdentifier begins no version: Atlas keeps a note of its own in such a row.
const cloudIdentifier = "."

// Status compares a database with the directory. Its JSON is what "accounts migrate status --json" prints.
type Status struct {
	Current string   `json:"current"` // the last version in the history, even if only in part; empty if there is none
	Pending []string `json:"pending"` // versions still to be applied in full
	Applied int      `json:"applied"` // number of files applied in full

	Partial    *Partial `json:"partial,omitempty"`      // the file that was not finished
	Edited     string   `json:"edited,omitempty"`       // the first version whose file is not the one that was applied
	Unknown    []string `json:"unknown,omitempty"`      // versions in the history that the directory lacks
	OutOfOrder []string `json:"out_of_order,omitempty"` // versions not applied although later ones were

	// Elsewhere are schemas of this PostgreSQL database that have a history of accounts, if this one has none.
	Elsewhere []string `json:"elsewhere,omitempty"`
}

// Partial is a file of which only the first statements were applied.
type Partial struct {
	Version string `json:"version"`
	Applied int    `json:"applied"`
	Total   int    `json:"total"`
	Error   string `json:"error,omitempty"` // why it stopped, if that was recorded
}

// String tells it in words.
func (p Partial) String() string {
	text := fmt.Sprintf("%s, %d of %d statements", p.Version, p.Applied, p.Total)
	if p.Error != "" {
		text += ": " + p.Error
	}
	return text
}

// Status returns how the database stands. It changes nothing, not even where nothing was ever applied. The error is a
// [domain.ErrUnavailable] if the history cannot be read.
func (r *Runner) Status(ctx context.Context) (Status, error) {
	state, err := r.compare(ctx, r.db)
	return state.Status, err
}

// Check returns nil if every file of the directory was applied as it is. The database may be newer: while a release is
// deployed, its migrations come first, and the instances of the one before may still start. It is one query, cheap enough
// for every start of a program. Otherwise the error is:
//   - [domain.ErrPendingMigrations]: the database is older, or a file was not finished. Up applies the rest.
//   - [domain.ErrChecksum]: an applied file was edited, or the histories have diverged.
//   - [domain.ErrUnavailable]: the history cannot be read.
func (r *Runner) Check(ctx context.Context) error {
	state, err := r.compare(ctx, r.db)
	if err != nil {
		return err
	}
	if err := state.diverged(); err != nil {
		return err
	}
	switch {
	case state.Partial != nil:
		return script.Refuse(domain.ErrPendingMigrations, "migration %s is half applied (%d of %d statements)%s",
			state.Partial.Version, state.Partial.Applied, state.Partial.Total, r.advice("run", "up"))
	case len(state.pending) == 1:
		return script.Refuse(domain.ErrPendingMigrations, "migration %s is pending%s%s", state.Pending[0], r.advice("run", "up"), state.hint())
	case len(state.pending) > 1:
		return script.Refuse(domain.ErrPendingMigrations, "%d migrations are pending%s%s", len(state.pending), r.advice("run", "up"), state.hint())
	}
	return nil
}

// Accept records that a file is, as it stands, what was applied. It is for one that failed half way, was repaired, and was finished
// by a build of Atlas that keeps the sum of the first attempt: its record then says that it was edited. The error is a
// [domain.ErrConflict] if that is not the first thing which the history has against the directory.
func (r *Runner) Accept(ctx context.Context, version string) error {
	return r.withLock(ctx, defaultLimits, func(s *Connection) error {
		state, err := r.compare(ctx, s.conn)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(r.dir.Files, func(f *script.File) bool { return f.Version() == version })
		j := slices.IndexFunc(state.revisions, func(r *migrate.Revision) bool { return r.Version == version })
		if state.Edited != version || i < 0 || j < 0 || state.revisions[j].Applied != state.revisions[j].Total {
			return script.Refuse(domain.ErrConflict, "migration %s is not one that was applied in full and edited since", version)
		}
		revision := state.revisions[j]
		revision.Hash, revision.PartialHashes = r.dir.Files[i].Sum, nil
		revision.Applied, revision.Total = len(r.dir.Files[i].Statements), len(r.dir.Files[i].Statements)
		revision.ExecutedAt, revision.Error, revision.ErrorStmt = time.Now(), "", ""
		return script.Failure("accept the migration", history{Querier: s.conn, database: s.database}.WriteRevision(ctx, revision))
	})
}

// state is a Status with what is to be done about it.
type state struct {
	Status
	pending   []pending
	newer     bool // the history goes on where the directory ends, as far as versions tell
	revisions []*migrate.Revision
	database  database
}

// hint says where else there is a history.
func (s state) hint() string {
	if len(s.Elsewhere) == 0 {
		return ""
	}
	return fmt.Sprintf("; schema %q has none, but %q has: is the search_path of the connection the intended one?",
		s.database.tables, strings.Join(s.Elsewhere, `", "`))
}

// compare reads the history and compares the directory with it.
func (r *Runner) compare(ctx context.Context, q Querier) (state, error) {
	h, revisions, err := r.readHistory(ctx, q)
	if err != nil {
		return state{}, err
	}
	s := compare(r.dir, revisions)
	s.revisions, s.database = revisions, h.database
	if len(revisions) == 0 {
		s.Elsewhere, err = h.database.elsewhere(ctx, q)
	}
	return s, err
}

// pending is a file of which the first applied statements are done.
type pending struct {
	*script.File
	applied int
	started bool // by an earlier run, with the next statement
	stopped bool // with an error that is recorded; otherwise the earlier run was killed
}

func (p pending) describe() File {
	statements := make([]string, 0, len(p.Statements)-p.applied)
	for _, s := range p.Statements[p.applied:] {
		statements = append(statements, s.Text)
	}
	return File{Version: p.Version(), Name: p.Name(), Statements: statements, Transactional: p.Transactional}
}

// compare works out what the history, ordered by version, means for the directory.
func compare(d *script.Directory, revisions []*migrate.Revision) state {
	s := state{Status: Status{Pending: []string{}}, newer: len(d.Files) > 0}
	byVersion := make(map[string]*migrate.Revision, len(revisions))
	var baseline string
	for _, r := range revisions {
		byVersion[r.Version] = r
		s.Current = r.Version
		if r.Type.Has(migrate.RevisionTypeBaseline) {
			baseline = r.Version
		}
		if slices.ContainsFunc(d.Files, func(f *script.File) bool { return f.IsCheckpoint() && f.Version() == r.Version }) {
			baseline = r.Version // it stands for the files before it, too
		}
		if !slices.ContainsFunc(d.Files, func(f *script.File) bool { return f.Version() == r.Version }) {
			s.Unknown = append(s.Unknown, r.Version)
			s.newer = s.newer && r.Version > d.Files[len(d.Files)-1].Version()
		}
	}
	s.newer = s.newer && len(s.Unknown) > 0
	if len(revisions) == 0 {
		// An empty database begins at the last checkpoint.
		for i, f := range d.Files {
			if f.IsCheckpoint() && i > 0 {
				baseline = d.Files[i-1].Version()
			}
		}
	}
	for i, f := range d.Files {
		revision, recorded := byVersion[f.Version()]
		switch {
		case !recorded && f.Version() <= baseline:
			// The baseline stands for it.
		case !recorded && f.IsCheckpoint() && i > 0 && len(revisions) > 0:
			// The files before it were applied.
		case !recorded && f.Version() < s.Current:
			s.OutOfOrder = append(s.OutOfOrder, f.Version())
		case !recorded:
			s.addPending(pending{File: f})
		case revision.Applied != revision.Total:
			s.Partial = &Partial{revision.Version, revision.Applied, revision.Total, revision.Error}
			if s.Edited == "" && !sameStatements(f, revision, revision.Applied) {
				s.Edited = f.Version()
			}
			s.addPending(pending{File: f, applied: revision.Applied, started: true, stopped: revision.Error != ""})
		default:
			s.Applied++
			// The sum of a file depends on the files before it: only the first difference is telling.
			// Nor does it tell anything behind a file that came in later, or is gone.
			diverged := len(s.OutOfOrder) > 0 || len(s.Unknown) > 0 && s.Unknown[0] < f.Version()
			if s.Edited == "" && !diverged && revision.Hash != "" && revision.Hash != f.Sum &&
				(len(revision.PartialHashes) == 0 || !sameStatements(f, revision, len(f.Statements))) {
				s.Edited = f.Version()
			}
		}
	}
	return s
}

func (s *state) addPending(p pending) {
	s.Pending = append(s.Pending, p.Version())
	s.pending = append(s.pending, p)
}

// sameStatements reports whether the first n statements of the file are those in the record. A file whose failing rest was
// repaired, and which was then finished by an Atlas that keeps the first sum, is not an edited one.
func sameStatements(f *script.File, revision *migrate.Revision, n int) bool {
	if n > len(f.Statements) || n != len(revision.PartialHashes) {
		return false
	}
	hash := sha256.New()
	for i := range n {
		hash.Write([]byte(f.Statements[i].Text))
		if base64.StdEncoding.EncodeToString(hash.Sum(nil)) != strings.TrimPrefix(revision.PartialHashes[i], "h1:") {
			return false
		}
	}
	return true
}

// differs returns an error if the database has another history than the directory, or a longer one.
func (s *state) differs() error {
	if s.newer {
		return script.Refuse(domain.ErrChecksum, "the database is at %s, newer than this program", s.Current)
	}
	return s.diverged()
}

// diverged returns an error if neither of the histories of the database and the directory is the beginning of the other.
func (s *state) diverged() error {
	switch {
	case len(s.Unknown) > 0 && !s.newer:
		return script.Refuse(domain.ErrChecksum, "migration %s was applied, but this program does not know it", s.Unknown[0])
	case len(s.OutOfOrder) > 0:
		return script.Refuse(domain.ErrChecksum, "migration %s was added before %s, which is applied already", s.OutOfOrder[0], s.Current)
	case s.Edited != "":
		accept := "call Accept"
		if s.database.name == historyName {
			accept = "run: accounts migrate accept " + s.Edited
		}
		return script.Refuse(domain.ErrChecksum, "migration %s was edited after it was applied; restore it, or, if it was repaired half way and then "+
			"finished by Atlas, %s", s.Edited, accept)
	}
	return nil
}

// history reads and writes the table of revisions. It implements [migrate.RevisionReadWriter].
type history struct {
	Querier
	database database
	run      *fileRun // that writes it, if any
}

// Ident names the table.
func (h history) Ident() *migrate.TableIdent { return h.database.historyIdent() }

const revisionColumns = `version, description, type, applied, total, execution_time, error, error_stmt, hash, partial_hashes,
	operator_version`

// ReadRevisions returns the whole history, ordered by version.
func (h history) ReadRevisions(ctx context.Context) (_ []*migrate.Revision, err error) {
	rows, err := h.QueryContext(ctx, "SELECT "+revisionColumns+" FROM "+h.database.history+
		" WHERE version NOT LIKE '"+cloudIdentifier+"%' ORDER BY version")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var revisions []*migrate.Revision
	for rows.Next() {
		r := new(migrate.Revision)
		var failure, statement, hashes sql.NullString
		if err := rows.Scan(&r.Version, &r.Description, &r.Type, &r.Applied, &r.Total, &r.ExecutionTime, &failure, &statement,
			&r.Hash, &hashes, &r.OperatorVersion); err != nil {
			return nil, err
		}
		r.Error, r.ErrorStmt = failure.String, statement.String
		if hashes.String != "" {
			if err := json.Unmarshal([]byte(hashes.String), &r.PartialHashes); err != nil {
				return nil, fmt.Errorf("revision %s: partial_hashes: %w", r.Version, err)
			}
		}
		revisions = append(revisions, r)
	}
	return revisions, rows.Err()
}

// readHistory returns the history, which is empty where there is no table yet.
func (r *Runner) readHistory(ctx context.Context, q Querier) (h history, revisions []*migrate.Revision, err error) {
	h.Querier = q
	// SQLite does not wait, whatever the busy timeout, while another process turns on the write-ahead log of a new file.
	for pause := 10 * time.Millisecond; pause < 10*time.Second; pause *= 2 {
		if h.database, err = r.locate(ctx, q); err == nil {
			revisions, err = h.readTable(ctx)
		}
		if !script.IsBusy(err) {
			break
		}
		if err := sleep(ctx, pause); err != nil {
			return h, nil, script.Failure("read the history of migrations", err)
		}
	}
	return h, revisions, script.Failure("read the history of migrations", err)
}

func (h history) readTable(ctx context.Context) ([]*migrate.Revision, error) {
	// SQLite does not tell a missing table from other errors. PostgreSQL does, and is farther away.
	if h.database.dialect == SQLite {
		if exists, _, _, err := h.database.historyExists(ctx, h.Querier); err != nil || !exists {
			return nil, err
		}
	}
	revisions, err := h.ReadRevisions(ctx)
	if h.database.isUndefinedTable(err) {
		return nil, nil
	}
	return revisions, err
}

// ReadRevision returns one revision, or [migrate.ErrRevisionNotExist].
func (h history) ReadRevision(ctx context.Context, version string) (*migrate.Revision, error) {
	revisions, err := h.ReadRevisions(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(revisions, func(r *migrate.Revision) bool { return r.Version == version })
	if i < 0 {
		return nil, migrate.ErrRevisionNotExist
	}
	if h.run != nil {
		// What is left of a half applied file may have been repaired since.
		revisions[i].Hash, revisions[i].Total = h.run.Sum, len(h.run.Statements)
	}
	return revisions[i], nil
}

// WriteRevision inserts or replaces a revision. Of a file that is one transaction it does so at the end: no one would see it before, and in a
// transaction that has failed it could not.
func (h history) WriteRevision(ctx context.Context, r *migrate.Revision) error {
	if h.run != nil && h.run.Transactional && (h.run.failed != nil || r.Applied < r.Total) {
		return nil
	}
	if h.run != nil && h.run.undone {
		remaining := *r
		remaining.Applied = h.run.remaining()
		remaining.PartialHashes = r.PartialHashes[:min(remaining.Applied, len(r.PartialHashes))]
		r = &remaining
	}
	var hashes sql.NullString
	if len(r.PartialHashes) > 0 {
		encoded, err := json.Marshal(r.PartialHashes)
		if err != nil {
			return err
		}
		hashes = sql.NullString{String: string(encoded), Valid: true}
	}
	// What is left of a half applied file may be changed before another program finishes it, and newer builds of Atlas keep
	// the sum that they find: there is none until the file is done. Read as "not compared" it is no lie then.
	sum := r.Hash
	if r.Applied < r.Total {
		sum = ""
	}
	// What was done is recorded, also when it is time to stop.
	ctx, cancel := afterwards(ctx)
	defer cancel()
	_, err := h.ExecContext(ctx, h.database.upsert,
		r.Version, r.Description, int64(r.Type), r.Applied, r.Total, int64(r.ExecutionTime), r.Error, r.ErrorStmt,
		sum, hashes, r.OperatorVersion, h.database.timestamp(r.ExecutedAt))
	return err
}

// DeleteRevision removes a revision.
func (h history) DeleteRevision(ctx context.Context, version string) error {
	_, err := h.ExecContext(ctx, "DELETE FROM "+h.database.history+" WHERE version = "+h.database.placeholder(1), version)
	return err
}

// sqliteTime is the form in which Atlas's driver of SQLite writes a time.
const sqliteTime = "2006-01-02 15:04:05.999999999-07:00"

func (d database) timestamp(t time.Time) any {
	if d.dialect == SQLite {
		return t.UTC().Format(sqliteTime)
	}
	return t
}
