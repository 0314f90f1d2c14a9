package infra

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
)

// idleHandle executes nothing.
type idleHandle struct{ calls int }

func (h *idleHandle) Query(context.Context, string, ...any) (Rows, error) {
	h.calls++
	return noRows{}, nil
}

func (h *idleHandle) Exec(context.Context, string, ...any) (int64, error) {
	h.calls++
	return 1, nil
}

type noRows struct{}

func (noRows) Next() bool        { return false }
func (noRows) Scan(...any) error { return nil }
func (noRows) Err() error        { return nil }
func (noRows) Close() error      { return nil }

// TestWhatIsNotWantedCostsNothing compares operations of a store to which nothing listens, or not to them, with what they are without all that looks for
// listeners: no allocation and no statement more.
func TestWhatIsNotWantedCostsNothing(t *testing.T) {
	ctx, id := t.Context(), domain.IDFromUUID(uuid.New())
	handle := new(idleHandle)
	origin := func(domain.Origin) (requestID, client, actor string) { return "", "", "" }
	bare := Bare{&Store{repository: repository{handle: handle, dialect: &postgresDialect}}}
	for name, option := range map[string]func(*repository){
		"nothing":                     func(*repository) {},
		"a hook for another kind":     func(r *repository) { r.hooks = []chosenHook{{kinds: eventKinds{domain.EventPurged}}} },
		"the trail, of another kind":  func(r *repository) { r.trail = &trail{eventKinds{domain.EventPurged}, origin} },
		"a change that has no events": func(r *repository) { r.hooks, r.trail = []chosenHook{{}}, &trail{origin: origin} },
	} {
		r := &repository{handle: handle, dialect: &postgresDialect}
		option(r)
		measure := func(call func()) (allocations float64, calls int) {
			handle.calls = 0
			const runs = 100
			return testing.AllocsPerRun(runs, call), handle.calls / (runs + 1) // which runs once more, before
		}
		failed, counted := signInFailed, signedIn
		if name == "a change that has no events" {
			failed, counted = nil, nil
		}
		for kind, pair := range map[string][2]func(){
			"a row": {
				func() { _, _ = bare.one(ctx, "x", "", id.UUID()) },
				func() { _, _ = r.changeOne(ctx, "x", failed, "", id.UUID()) },
			},
			"a count": {
				func() { _, _ = bare.execute(ctx, "x", "", id.UUID()) },
				func() { _, _ = r.changeRow(ctx, "x", counted, id, "", id.UUID()) },
			},
			"a read": {
				func() { _, _ = bare.one(ctx, "x", "", id.UUID()) },
				func() { _, _ = r.one(ctx, "x", "", id.UUID()) },
			},
		} {
			without, calls := measure(pair[0])
			with, callsWith := measure(pair[1])
			if with > without || callsWith != calls {
				t.Errorf("%s, %s: %v allocations and %d statements; want %v and %d", name, kind, with, callsWith, without, calls)
			}
		}
	}
}
