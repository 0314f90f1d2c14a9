//go:build long && unix

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/internal/postgrestest"
	"github.com/softbee/accounts/infra/storetest"
)

// repeated is a change that is made, and then asked for again.
type repeated struct {
	before func(ctx context.Context, a *repeatedAccount) error // what it needs; nil for nothing
	call   func(ctx context.Context, a *repeatedAccount) error
	says   domain.Kind // what the one who asks again is answered; "" for no error
}

type repeatedAccount struct {
	*infra.Store
	user  *domain.User
	id    domain.ID
	token domain.OneTimeToken
	grant domain.Grant
}

// only drops what a method returns besides its error.
func only[T any](_ T, err error) error { return err }

func first(refusals []error, err error) error {
	if err == nil {
		err = refusals[0]
	}
	return err
}

func (a *repeatedAccount) identity() domain.Identity {
	return domain.RestoreIdentity("https://issuer.example", a.id.String())
}

func (a *repeatedAccount) link(ctx context.Context) error {
	return only(a.LinkIdentity(ctx, a.id, a.identity()))
}

func (a *repeatedAccount) issue(ctx context.Context) (err error) {
	a.grant, err = a.IssueToken(ctx, a.id, domain.SessionPolicy{})
	return err
}

func (a *repeatedAccount) deactivate(ctx context.Context) error { return only(a.Deactivate(ctx, a.id)) }

func (a *repeatedAccount) phone() domain.Phone {
	phone, _ := domain.ParsePhone("+4930" + strings.Map(func(r rune) rune { return '0' + r%10 }, a.id.String()[:8]))
	return phone
}

// predecessor is the ID just before the account's.
func (a *repeatedAccount) predecessor() domain.ID {
	id := a.id.UUID()
	for i := len(id) - 1; ; i-- {
		if id[i]--; id[i] != 0xff {
			return domain.IDFromUUID(uuid.UUID(id))
		}
	}
}

var changesAskedForAgain = map[string]repeated{
	"RotateToken": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.issue(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.RotateToken(ctx, a.grant.Token, domain.SessionPolicy{Grace: 10 * time.Minute}))
		},
	},
	"RevokeSession": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.issue(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.RevokeSession(ctx, a.id, a.grant.Session.ID))
		},
	},
	"RevokeOtherSessions": {
		before: func(ctx context.Context, a *repeatedAccount) error { return errors.Join(a.issue(ctx), a.issue(ctx)) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.RevokeOtherSessions(ctx, a.id, a.grant.Session.ID))
		},
	},
	"RevokeSessions": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.issue(ctx) },
		call:   func(ctx context.Context, a *repeatedAccount) error { return only(a.Store.RevokeSessions(ctx, a.id)) },
	},
	"RevokeMany": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.issue(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.RevokeMany(ctx, []domain.ID{a.id}))
		},
	},
	"RevokeEverybody": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.issue(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.RevokeEverybody(ctx, a.predecessor(), 1))
		},
	},
	"Create": {
		before: func(_ context.Context, a *repeatedAccount) error {
			a.user = repeatedUser(a.id.String()[:8] + "-created")
			return nil
		},
		call: func(ctx context.Context, a *repeatedAccount) error { return a.Store.Create(ctx, a.user) },
		says: domain.ErrConflict,
	},
	"CreateMany": {
		before: func(_ context.Context, a *repeatedAccount) error {
			a.user = repeatedUser(a.id.String()[:8] + "-imported")
			return nil
		},
		call: func(ctx context.Context, a *repeatedAccount) error {
			return first(a.Store.CreateMany(ctx, []*domain.User{a.user}))
		},
		says: domain.ErrConflict,
	},
	"Update": {call: func(ctx context.Context, a *repeatedAccount) error {
		return only(a.Store.Update(ctx, a.id, func(u *domain.User) error { return u.Rename("Ada", "Lovelace") }))
	}},
	"SetEmail": {call: func(ctx context.Context, a *repeatedAccount) error {
		email, _ := domain.ParseEmail(a.id.String()[:8] + "@new.example")
		return only(a.Store.SetEmail(ctx, a.id, email))
	}},
	"SetUsername": {call: func(ctx context.Context, a *repeatedAccount) error {
		name, _ := domain.ParseUsername("new-" + a.id.String()[:8])
		return only(a.Store.SetUsername(ctx, a.id, name))
	}},
	"SetNames": {call: func(ctx context.Context, a *repeatedAccount) error {
		return only(a.Store.SetNames(ctx, a.id, domain.Names{First: "Ada"}))
	}},
	"SetPhone": {call: func(ctx context.Context, a *repeatedAccount) error {
		return only(a.Store.SetPhone(ctx, a.id, a.phone()))
	}},
	"Activate": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.deactivate(ctx) },
		call:   func(ctx context.Context, a *repeatedAccount) error { return only(a.Store.Activate(ctx, a.id)) },
	},
	"ActivateMany": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.deactivate(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.ActivateMany(ctx, []domain.ID{a.id}))
		},
	},
	"Deactivate": {call: func(ctx context.Context, a *repeatedAccount) error { return a.deactivate(ctx) }},
	"DeactivateMany": {call: func(ctx context.Context, a *repeatedAccount) error {
		return only(a.Store.DeactivateMany(ctx, []domain.ID{a.id}))
	}},
	"Verify": {call: func(ctx context.Context, a *repeatedAccount) error { return only(a.Store.Verify(ctx, a.id)) }},
	"Unlock": {
		before: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.LockUntil(ctx, a.id, time.Now().Add(time.Hour)))
		},
		call: func(ctx context.Context, a *repeatedAccount) error { return only(a.Store.Unlock(ctx, a.id)) },
	},
	"LockUntil": {call: func(ctx context.Context, a *repeatedAccount) error {
		return only(a.Store.LockUntil(ctx, a.id, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)))
	}},
	"CancelReset": {
		before: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.IssueReset(ctx, a.id, a.token.Digest(), time.Now().Add(time.Hour)))
		},
		call: func(ctx context.Context, a *repeatedAccount) error { return only(a.Store.CancelReset(ctx, a.id)) },
	},
	"ConsumeVerification": {
		before: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.IssueVerification(ctx, a.id, a.token.Digest(), time.Now().Add(time.Hour)))
		},
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.ConsumeVerification(ctx, a.token.Digest()))
		},
	},
	"ConsumePhoneCode": {
		before: func(ctx context.Context, a *repeatedAccount) error {
			return errors.Join(only(a.SetPhone(ctx, a.id, a.phone())), only(a.IssuePhoneCode(ctx, a.id, a.token.Digest(), time.Now().Add(time.Hour))))
		},
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.ConsumePhoneCode(ctx, a.id, a.token.Digest()))
		},
	},
	"RemovePassword": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.link(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return only(a.Store.RemovePassword(ctx, a.id, domain.SessionID{}, false))
		},
	},
	"LinkMany": {call: func(ctx context.Context, a *repeatedAccount) error {
		return first(a.Store.LinkMany(ctx, []domain.LinkedIdentity{{UserID: a.id, Identity: a.identity()}}))
	}},
	"UnlinkIdentity": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.link(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return a.Store.UnlinkIdentity(ctx, a.id, a.identity(), false)
		},
		says: domain.ErrNotFound,
	},
	"UnlinkIdentity, forced": {
		before: func(ctx context.Context, a *repeatedAccount) error { return a.link(ctx) },
		call: func(ctx context.Context, a *repeatedAccount) error {
			return a.Store.UnlinkIdentity(ctx, a.id, a.identity(), true)
		},
		says: domain.ErrNotFound,
	},
	"Delete": {
		call: func(ctx context.Context, a *repeatedAccount) error { return a.Store.Delete(ctx, a.id) },
		says: domain.ErrNotFound,
	},
	"DeleteAt": {
		call: func(ctx context.Context, a *repeatedAccount) error { return a.Store.DeleteAt(ctx, a.id, 1) },
		says: domain.ErrNotFound,
	},
	"Purge": {call: func(ctx context.Context, a *repeatedAccount) error {
		search, err := domain.ParsePrefix(a.user.Username().String())
		if err != nil {
			return err
		}
		return only(a.Store.Purge(ctx, domain.ListQuery{Filter: domain.Filter{Search: search, CreatedBefore: time.Now().Add(time.Hour)}}))
	}},
	"InTx": {call: func(ctx context.Context, a *repeatedAccount) error {
		return a.InTx(ctx, func(tx *infra.Tx) error { return only(tx.Verify(ctx, a.id)) })
	}},
}

func repeatedUser(name string) *domain.User {
	email, _ := domain.ParseEmail(name + "@example.org")
	username, _ := domain.ParseUsername(name)
	u, err := domain.NewUser(domain.Registration{Email: email, Username: username, PasswordHash: domain.NoPassword()}, time.Now())
	if err != nil {
		panic(err)
	}
	return u
}

// A change whose outcome is unknown, because the synchronous standby did not confirm it, can be seen on the primary. Who asks for it again gets no answer that says
// that it was made until the standby has it: a failover would lose it.
func TestWhatTheStandbyLacksIsNotAcknowledgedByARepetition(t *testing.T) {
	for driver, open := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			primary := postgrestest.NewCluster(t)
			storetest.OpenPostgres(t, primary.URL)
			standby := primary.Standby(t)
			primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'", "SELECT pg_reload_conf()")
			admin := primary.DB(t)
			replicating := func(want int) {
				t.Helper()
				postgrestest.Await(t, fmt.Sprintf("there are %d synchronous standbys", want), func() bool {
					var all, sync int
					err := admin.QueryRow("SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication").Scan(&all, &sync)
					return err == nil && all == want && sync == want
				})
			}
			replicating(1)
			store, err := open(t.Context(), primary.URL, 16)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			accounts := make(map[string]*repeatedAccount)
			for name, r := range changesAskedForAgain {
				u := storetest.NewUser(t, fmt.Sprintf("user%d", len(accounts)))
				a := &repeatedAccount{Store: store, user: u, id: u.ID(), token: domain.NewOneTimeToken()}
				if err := store.Create(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				if r.before != nil {
					if err := r.before(t.Context(), a); err != nil {
						t.Fatalf("before %s: %v", name, err)
					}
				}
				accounts[name] = a
			}
			// all makes all calls, and again those that on a busy machine did not come to the server in time, or not back.
			all := func(what string, again func(error) bool, check func(name string, r repeated, err error)) {
				var calls sync.WaitGroup
				for name, r := range changesAskedForAgain {
					calls.Go(func() {
						for end := time.Now().Add(time.Minute); ; {
							ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
							err := r.call(ctx, accounts[name])
							cancel()
							if !again(err) {
								check(name, r, err)
								return
							}
							if time.Now().After(end) {
								t.Errorf("%s, %s: %v for a minute", name, what, err)
								return
							}
						}
					})
				}
				calls.Wait()
			}
			notSent := func(err error) bool { return errors.Is(err, domain.ErrUnavailable) && !domain.OutcomeUnknown(err) }
			unknown := func(what string) {
				t.Helper()
				all(what, notSent, func(name string, _ repeated, err error) {
					if !domain.OutcomeUnknown(err) {
						t.Errorf("%s, %s: %v; want an unknown outcome", name, what, err)
					}
				})
			}
			var way string
			if err := standby.DB(t).QueryRow("SHOW primary_conninfo").Scan(&way); err != nil {
				t.Fatal(err)
			}
			standby.Exec(t, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
			replicating(0)
			unknown("the standby being cut off")
			unknown("once more")
			standby.Exec(t, "ALTER SYSTEM SET primary_conninfo = '"+strings.ReplaceAll(way, "'", "''")+"'", "SELECT pg_reload_conf()")
			replicating(1)
			all("the standby being back", func(err error) bool { return errors.Is(err, domain.ErrUnavailable) }, func(name string, r repeated, err error) {
				if domain.KindOf(err) != r.says {
					t.Errorf("%s, the standby being back: %v; want the kind %q", name, err, r.says)
				}
			})
		})
	}
}
