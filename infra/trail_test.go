package infra_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/audit"
	"github.com/softbee/accounts/infra/storetest"
)

// TestEntriesOfOperations demands of every operation one entry for each of its events, in their order: also where its statement has the entry in it, where a
// hook or a part of the kinds keeps it out, and in a transaction of the caller.
func TestEntriesOfOperations(t *testing.T) {
	t.Parallel()
	storetest.OnBoth(t, func(t *testing.T, plain *infra.Store) {
		idle := func(context.Context, *infra.Tx, domain.Event) error { return nil }
		some := kinds(domain.EventSignedIn, domain.EventLocked, domain.EventImported, domain.EventDeleted)
		direct := func(_ *infra.Store, s *subject, run func(*subject) error) error { return run(s) }
		undo := errors.New("undo")
		for _, way := range []struct {
			name    string
			options []infra.Option
			run     func(store *infra.Store, s *subject, run func(*subject) error) error
			kept    []domain.EventKind
		}{
			{"alone", []infra.Option{audit.WithTrail(audit.Options{})}, direct, domain.EventKinds()},
			{"of some kinds", []infra.Option{audit.WithTrail(audit.Options{}, some...)}, direct, some},
			{"beside a hook", []infra.Option{audit.WithTrail(audit.Options{}), infra.WithHook(idle)}, direct, domain.EventKinds()},
			{"in a transaction", []infra.Option{audit.WithTrail(audit.Options{})}, func(store *infra.Store, s *subject, run func(*subject) error) error {
				return store.InTx(s.ctx, func(tx *infra.Tx) error {
					s.store = tx
					return run(s)
				})
			}, domain.EventKinds()},
			{"undone", []infra.Option{audit.WithTrail(audit.Options{})}, func(store *infra.Store, s *subject, run func(*subject) error) error {
				err := store.InTx(s.ctx, func(tx *infra.Tx) error {
					s.store = tx
					if err := run(s); err != nil {
						return err
					}
					return undo
				})
				if errors.Is(err, undo) {
					err = nil
				}
				return err
			}, nil},
		} {
			store := sibling(t, plain, way.options...)
			for _, o := range operations {
				if len(o.want) == 0 && way.name != "alone" {
					continue // what has no entry alone has none otherwise
				}
				s := prepared(t, plain, store, o.before)
				s.ctx = domain.WithOrigin(s.ctx, domain.Origin{RequestID: "r1", Client: netip.MustParseAddr("192.0.2.77"), Actor: "tester"})
				begun := time.Now().Add(-time.Millisecond)
				err := way.run(store, s, o.run)
				if ofTx := way.name == "in a transaction" && errors.Is(o.fails, domain.ErrTokenReused); !errors.Is(err, o.fails) {
					t.Errorf("%s, %s: %v; want %v", way.name, o.name, err, o.fails)
				} else if ofTx || way.kept == nil {
					o.want = nil // which is undone
				}
				var got []domain.EventKind
				for _, id := range []domain.ID{s.ID(), s.other.ID()} {
					entries, err := audit.List(s.ctx, plain, audit.Query{UserID: id})
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range entries {
						got = append(got, e.Kind)
						if e.RequestID != "r1" || e.Client != "192.0.2.0/24" || e.Actor != "tester" || e.At.Before(begun) || e.At.After(time.Now().Add(time.Millisecond)) {
							t.Errorf("%s, %s: %+v", way.name, o.name, e)
						}
					}
				}
				want := slices.DeleteFunc(slices.Clone(o.want), func(kind domain.EventKind) bool { return !slices.Contains(way.kept, kind) })
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s: the entries are %q; want %q", way.name, o.name, got, want)
				}
				deleteAccounts(t, plain)
			}
		}
	})
}

func TestTrailIsGivenOnce(t *testing.T) {
	plain := storetest.OpenSQLite(t, ":memory:")
	database := infra.Database{Dialect: "sqlite3", DB: plain.DB()}
	for name, options := range map[string][]infra.Option{
		"twice":   {audit.WithTrail(audit.Options{}), audit.WithTrail(audit.Options{})},
		"nothing": {infra.WithTrail(nil)},
	} {
		if _, err := infra.New(t.Context(), database, options...); !errors.Is(err, domain.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
