package domaintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
)

// contractTest is a test of one behaviour: a repository on a store of its own, and its clock.
type contractTest struct {
	*testing.T
	domain.Repository
	clock *Clock
	often bool // whether races have many rounds
}

func (r *contractTest) rounds(few, many int) int {
	if r.often {
		return many
	}
	return few
}

func storedTime(t time.Time) time.Time { return domain.StoredTime(t) }

// must returns what a call returned, and ends the test if that was an error.
func must[V any](v V, err error) func(*contractTest) V {
	return func(r *contractTest) V {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
		return v
	}
}

func (r *contractTest) email(text string) domain.Email {
	r.Helper()
	return must(domain.ParseEmail(text))(r)
}

func (r *contractTest) username(text string) domain.Username {
	r.Helper()
	return must(domain.ParseUsername(text))(r)
}

func (r *contractTest) phone(text string) domain.Phone {
	r.Helper()
	return must(domain.ParsePhone(text))(r)
}

// hash returns a hash, a different one for each text.
func (r *contractTest) hash(text string) domain.PasswordHash {
	r.Helper()
	return must(domain.ParsePasswordHash("$2b$10$" + url.QueryEscape(text)))(r)
}

func (r *contractTest) prefix(text string) domain.Prefix {
	r.Helper()
	return must(domain.ParsePrefix(text))(r)
}

func (r *contractTest) namePrefix(text string) domain.NamePrefix {
	r.Helper()
	return must(domain.ParseNamePrefix(text))(r)
}

func (r *contractTest) mailDomain(text string) domain.MailDomain {
	r.Helper()
	return must(domain.ParseMailDomain(text))(r)
}

// newAccount returns an account that is not stored: NAME with the address NAME@example.org and nothing that may be absent.
func (r *contractTest) newAccount(name string) domain.UserState {
	r.Helper()
	return must(domain.NewUser(domain.Registration{
		Email:        r.email(name + "@example.org"),
		Username:     r.username(name),
		PasswordHash: r.hash(name),
	}, r.clock.Now()))(r).State()
}

// full returns an account that is not stored, of which nothing is absent, with a session and its token. The lock has ended.
func (r *contractTest) full(name string) (domain.UserState, domain.RefreshToken) {
	r.Helper()
	s, now := r.newAccount(name), r.clock.stored()
	s.FirstName, s.LastName = "José", "O'Neil 😀"
	s.Phone = r.phone(fmt.Sprintf("+57%010d", now.UnixNano()%1e9+int64(len(name))*7+int64(name[0])))
	s.PendingEmail = r.email(name + "@pending.example")
	s.Verified = true
	s.LastLogin = now.Add(-26 * time.Hour)
	var token domain.RefreshToken
	s.Sessions, token = r.begin(nil, s.ID, domain.SessionPolicy{})
	s.FailedLoginAttempts = 3
	s.LockedUntil = now.Add(-time.Hour)
	s.ResetToken, s.ResetTokenExpiry = domain.NewOneTimeToken().Digest(), now.Add(15*time.Minute)
	s.VerificationToken, s.VerificationTokenExpiry = domain.NewOneTimeToken().Digest(), now.Add(24*time.Hour)
	s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = domain.NewPhoneCode().Digest(s.ID), now.Add(10*time.Minute), 1
	s.PhoneVerifiedAt = now.Add(-30 * time.Hour)
	s.Version = 41
	s.CreatedAt = now.Add(-1000*time.Hour - 999*time.Microsecond)
	s.UpdatedAt = now.Add(-time.Microsecond)
	for i, v := 0, reflect.ValueOf(s); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			r.Fatalf("the full account lacks %s", v.Type().Field(i).Name)
		}
	}
	return s, token
}

// begin returns the list with a new session, and its token, none of which is stored.
func (r *contractTest) begin(list domain.SessionList, id domain.ID, policy domain.SessionPolicy) (domain.SessionList, domain.RefreshToken) {
	r.Helper()
	list, token, err := list.Issue(id, r.clock.Now(), policy)
	if err != nil {
		r.Fatal(err)
	}
	return list, token
}

// create stores an account and returns it.
func (r *contractTest) create(s domain.UserState) domain.UserState {
	r.Helper()
	if err := r.Create(r.Context(), must(domain.RestoreUser(s))(r)); err != nil {
		r.Fatal(err)
	}
	return s
}

// add stores a new account and returns its ID.
func (r *contractTest) add(name string) domain.ID { r.Helper(); return r.create(r.newAccount(name)).ID }

func (r *contractTest) state(id domain.ID) domain.UserState {
	r.Helper()
	return must(r.FindByID(r.Context(), id))(r).State()
}

// accounts returns everything that is stored.
func (r *contractTest) accounts() map[domain.ID]domain.UserState {
	r.Helper()
	all := make(map[domain.ID]domain.UserState)
	query := domain.ListQuery{Limit: domain.MaxPageSize}
	for {
		page := must(r.List(r.Context(), query))(r)
		for _, u := range page.Users {
			all[u.ID()] = r.state(u.ID())
		}
		if query.After = page.Next; query.After.IsZero() {
			return all
		}
	}
}

// equal demands that two states agree, and that the first one's times are as a store returns them.
func (r *contractTest) equal(what string, got, want domain.UserState) {
	r.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		name := g.Type().Field(i).Name
		switch got := g.Field(i).Interface().(type) {
		case time.Time:
			if want := w.Field(i).Interface().(time.Time); !got.Equal(want) {
				r.Errorf("%s: %s is %v, want %v", what, name, got, want)
			}
			if got != storedTime(got) {
				r.Errorf("%s: %s is %v, which is not UTC in microseconds", what, name, got)
			}
		case domain.SessionList:
			if want := w.Field(i).Interface().(domain.SessionList); !slices.Equal(got, want) {
				r.Errorf("%s: %s is\n%q, want\n%q", what, name, []string(got), []string(want))
			}
		default:
			if want := w.Field(i).Interface(); got != want {
				r.Errorf("%s: %s is %+v, want %+v", what, name, got, want)
			}
		}
	}
}

// equalAll demands that two stores hold the same.
func (r *contractTest) equalAll(what string, got, want map[domain.ID]domain.UserState) {
	r.Helper()
	if len(got) != len(want) {
		r.Errorf("%s: %d accounts, want %d", what, len(got), len(want))
	}
	for id, w := range want {
		if g, ok := got[id]; ok {
			r.equal(fmt.Sprintf("%s: account %s", what, id), g, w)
		} else {
			r.Errorf("%s: account %s is missing", what, id)
		}
	}
}

// refused demands a typed error of a kind on a field.
func (r *contractTest) refused(what string, err error, kind domain.Kind, field string) {
	r.Helper()
	var e *domain.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || domain.KindOf(err) != kind || e.Field != field {
		r.Errorf("%s: error %#v, want %q on the field %q", what, err, kind, field)
	}
}

// changesNothing demands that a call is refused and leaves all accounts as they were.
func (r *contractTest) changesNothing(what string, kind domain.Kind, field string, call func() error) {
	r.Helper()
	before := r.accounts()
	r.refused(what, call(), kind, field)
	r.equalAll(what, r.accounts(), before)
}

// changed demands that a call returned what is now stored, at the next version, changed at present.
func (r *contractTest) changed(what string, u *domain.User, before domain.UserState) domain.UserState {
	r.Helper()
	after := r.state(before.ID)
	r.equal(what+": returned", u.State(), after)
	if after.Version != before.Version+1 || !after.UpdatedAt.Equal(r.clock.stored()) {
		r.Errorf("%s: version %d after %d, updated at %v, now it is %v", what, after.Version, before.Version, after.UpdatedAt, r.clock.stored())
	}
	return after
}

// concurrently calls f n times at once, with the numbers from 0, and returns the errors in this order.
func concurrently(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	done.Wait()
	return errs
}

// winner demands that exactly one of several calls did it and that the others were refused, and returns its number.
func (r *contractTest) winner(what string, errs []error, kinds ...domain.Kind) int {
	r.Helper()
	winner, winners := -1, 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case !slices.Contains(kinds, domain.KindOf(err)):
			r.Errorf("%s: %v, want one of %q", what, err, kinds)
		}
	}
	if winners != 1 {
		r.Fatalf("%s: %d of %d won, want 1", what, winners, len(errs))
	}
	return winner
}

func (r *contractTest) noErrors(what string, errs []error) {
	r.Helper()
	for _, err := range errs {
		if err != nil {
			r.Errorf("%s: %v", what, err)
		}
	}
}

// overlap returns a closure for Update that has another call done while it runs for the first time, and the error of that
// call once Update has returned. A repository that makes the other call wait for Update gets its time.
func overlap(change func(*domain.User) error, other func() error) (closure func(*domain.User) error, result func() error) {
	var once sync.Once
	done := make(chan error, 1)
	closure = func(u *domain.User) error {
		once.Do(func() {
			go func() { done <- other() }()
			select {
			case err := <-done:
				done <- err
			case <-time.After(200 * time.Millisecond):
			}
		})
		return change(u)
	}
	return closure, func() error { return <-done }
}

func compareIDs(a, b domain.ID) int {
	x, y := a.UUID(), b.UUID()
	return bytes.Compare(x[:], y[:])
}

// ended is a context that was cancelled.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
