package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra/bulk"
)

const (
	maxUpload    = 64 << 20
	importTime   = 10 * time.Minute
	refusalsKept = 100
	importsKept  = 20
)

// imports are the imports since the program was started. The zero value is ready to use.
type imports struct {
	mu     sync.Mutex
	latest []*importJob // the oldest first
}

// importJob is an import that runs, or is over.
type importJob struct {
	ID, File string
	size     int64

	mu       sync.Mutex // guards what follows
	read     int64
	summary  bulk.Summary
	refusals []refusal
	over     bool
	failed   string
}

// refusal is why a line was not imported.
type refusal struct {
	Line   int
	Reason string
}

// count counts what was read of the file.
func (j *importJob) count(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.read += int64(n)
}

// importState is a job at one moment, for its page.
type importState struct {
	ID, File string
	Percent  int64
	Summary  bulk.Summary
	Refusals []refusal
	Over     bool
	Failed   string
}

func (j *importJob) state() importState {
	j.mu.Lock()
	defer j.mu.Unlock()
	return importState{j.ID, j.File, 100 * j.read / max(j.size, 1), j.summary, j.refusals[:len(j.refusals):len(j.refusals)], j.over, j.failed}
}

func (s *server) importPage(w http.ResponseWriter, r *http.Request, _ *domain.User) error {
	return s.showImport(w, r, http.StatusOK, form{})
}

func (s *server) showImport(w http.ResponseWriter, r *http.Request, status int, f form) error {
	s.imports.mu.Lock()
	latest := make([]importState, 0, len(s.imports.latest))
	for _, job := range s.imports.latest {
		latest = append(latest, job.state())
	}
	s.imports.mu.Unlock()
	return s.render(w, r, status, "import", page{Title: "Import accounts", Form: f, Data: latest})
}

// startImport takes a file, and imports it in the background: its page shows how far that is.
func (s *server) startImport(w http.ResponseWriter, r *http.Request, _ *domain.User) error {
	f := form{Errors: map[string]string{}}
	upload, header, err := r.FormFile("file")
	if errors.Is(err, http.ErrMissingFile) {
		f.Errors["file"] = "is missing"
		return s.showImport(w, r, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return err
		}
		return &domain.Error{Kind: domain.ErrInvalid, Field: "file", Reason: "cannot be read"}
	}
	defer upload.Close()
	format, err := bulk.FormatOf(header.Filename)
	if err != nil {
		f.Errors["file"] = "is neither .csv nor .jsonl"
		return s.showImport(w, r, http.StatusUnprocessableEntity, f)
	}
	file, err := keepFile(upload) // what the request holds is deleted when it is answered
	if err != nil {
		return err
	}
	job := &importJob{ID: rand.Text(), File: header.Filename, size: header.Size}
	s.imports.add(job)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), importTime)
	s.tasks.Go(func() {
		defer cancel()
		defer os.Remove(file.Name())
		defer file.Close()
		job.run(ctx, s, file, format)
	})
	return redirect(w, r, "/admin/import/"+job.ID)
}

// keepFile copies an upload into a file of its own, from its beginning.
func keepFile(upload multipart.File) (*os.File, error) {
	file, err := os.CreateTemp("", "webapp-import-*")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(file, upload)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	return file, nil
}

func (i *imports) add(job *importJob) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.latest = append(i.latest, job)
	if n := len(i.latest); n > importsKept {
		i.latest = i.latest[n-importsKept:]
	}
}

func (i *imports) find(id string) *importJob {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, job := range i.latest {
		if job.ID == id {
			return job
		}
	}
	return nil
}

// counting counts what is read.
type counting struct {
	io.Reader
	count func(int)
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.count(n)
	return n, err
}

// run imports the file. What was imported before an error stays.
func (j *importJob) run(ctx context.Context, s *server, file io.Reader, format bulk.Format) {
	summary, err := bulk.Import(ctx, s.store, counting{file, j.count}, bulk.Options{Format: format, CheckHash: s.hasher.Check, Refused: j.refuse})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.summary, j.over = summary, true
	if err != nil {
		j.failed = err.Error()
		s.log.ErrorContext(ctx, "import", "error", err.Error())
	}
}

func (j *importJob) refuse(line int, err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.summary.Failed++
	if len(j.refusals) < refusalsKept {
		j.refusals = append(j.refusals, refusal{line, err.Error()})
	}
	return nil
}

// importProgress shows how far an import is. While it runs, browsers load the page again by themselves.
func (s *server) importProgress(w http.ResponseWriter, r *http.Request, _ *domain.User) error {
	job := s.imports.find(r.PathValue("id"))
	if job == nil {
		return errNoPage
	}
	state := job.state()
	if !state.Over {
		w.Header().Set("Refresh", "2")
	}
	return s.render(w, r, http.StatusOK, "progress", page{Title: "Import of " + state.File, Data: state})
}
