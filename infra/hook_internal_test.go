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

// TestHooksThatAreNotThereCostNothing compares a change with the bare statement.
func TestHooksThatAreNotThereCostNothing(t *testing.T) {
	ctx, id := t.Context(), domain.IDFromUUID(uuid.New())
	handle := new(idleHandle)
	r := &repository{handle: handle, dialect: &postgresDialect}
	for name, hooks := range map[string][]chosenHook{
		"no hook":                 nil,
		"a hook for another kind": {{hook: func(context.Context, *Tx, domain.Event) error { return nil }, kinds: []domain.EventKind{domain.EventPurged}}},
	} {
		r.hooks = hooks
		measure := func(call func()) (allocations float64, calls int) {
			handle.calls = 0
			const runs = 100
			return testing.AllocsPerRun(runs, call), handle.calls / (runs + 1) // which runs once more, before
		}
		for kind, pair := range map[string][2]func(){
			"a row": {
				func() { _, _ = r.one(ctx, "x", "", id.UUID()) },
				func() { _, _ = r.changeOne(ctx, "x", signInFailed, "", id.UUID()) },
			},
			"a count": {
				func() { _, _ = r.execute(ctx, "x", "", id.UUID()) },
				func() { _, _ = r.changeRow(ctx, "x", signedIn, id, "", id.UUID()) },
			},
			"many": {
				func() { _, _ = collect(ctx, r, "x", "", []any{id.UUID()}, scanID) },
				func() { _, _ = r.changeIDs(ctx, "x", imported, "", id.UUID()) },
			},
		} {
			bare, calls := measure(pair[0])
			with, callsWith := measure(pair[1])
			if with > bare || callsWith != calls {
				t.Errorf("%s, %s: %v allocations and %d statements; want %v and %d", name, kind, with, callsWith, bare, calls)
			}
		}
	}
}
