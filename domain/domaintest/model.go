package domaintest

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
)

// model is a repository in memory: what the interface says, in as few words as possible. The suite holds others against it,
// and its own tests hold it against the suite.
type model struct {
	now   func() time.Time
	mu    sync.Mutex
	users map[domain.ID]domain.UserState
	links []domain.LinkedIdentity // in the order in which they were made
}

var _ domain.Repository = (*model)(nil)

func newModel(now func() time.Time) *model {
	return &model{now: now, users: make(map[domain.ID]domain.UserState)}
}

func refuse(kind domain.Kind, field string) error { return &domain.Error{Kind: kind, Field: field} }

// locked calls f, unless ctx has ended, while no other method is at work.
func (m *model) locked(ctx context.Context, f func(now time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return f(storedTime(m.now()))
}

// user returns an account that shares nothing with the stored one.
func user(s domain.UserState) (*domain.User, error) {
	s.Sessions = slices.Clone(s.Sessions)
	return domain.RestoreUser(s)
}

// find returns the first account that matches.
func (m *model) find(ctx context.Context, matches func(domain.UserState) bool) (u *domain.User, err error) {
	err = m.locked(ctx, func(time.Time) error {
		for _, s := range m.users {
			if matches(s) {
				u, err = user(s)
				return err
			}
		}
		return refuse(domain.ErrNotFound, "")
	})
	return u, err
}

// change stores what rule makes of an account: at the next version, if that is an edit.
func (m *model) change(
	ctx context.Context, id domain.ID, rule func(s *domain.UserState, now time.Time) error,
) (u *domain.User, err error) {
	return m.write(ctx, id, edited, rule)
}

func always(_, _ domain.UserState) bool { return true }

func never(_, _ domain.UserState) bool { return false }

// keepBooks stores what rule makes of an account, at the same version.
func (m *model) keepBooks(
	ctx context.Context, id domain.ID, rule func(s *domain.UserState, now time.Time) error,
) (u *domain.User, err error) {
	return m.write(ctx, id, never, rule)
}

// edited tells whether two states differ in what people edit.
func edited(a, b domain.UserState) bool {
	return a.Email != b.Email || a.PendingEmail != b.PendingEmail || a.Username != b.Username || a.PasswordHash != b.PasswordHash || a.FirstName != b.FirstName ||
		a.LastName != b.LastName || a.Phone != b.Phone || a.Active != b.Active || a.Verified != b.Verified || a.PhoneVerifiedAt.IsZero() != b.PhoneVerifiedAt.IsZero()
}

// write stores what rule makes of an account, unless that is the same.
func (m *model) write(
	ctx context.Context, id domain.ID, raises func(before, after domain.UserState) bool, rule func(s *domain.UserState, now time.Time) error,
) (u *domain.User, err error) {
	err = m.locked(ctx, func(now time.Time) error {
		u, _, err = m.put(id, now, raises, rule)
		return err
	})
	return u, err
}

// put is write for a caller that holds the lock. It tells whether it changed anything.
func (m *model) put(
	id domain.ID, now time.Time, raises func(before, after domain.UserState) bool, rule func(s *domain.UserState, now time.Time) error,
) (u *domain.User, changed bool, err error) {
	before, known := m.users[id]
	if !known {
		return nil, false, refuse(domain.ErrNotFound, "")
	}
	s := before
	if err := rule(&s, now); err != nil {
		return nil, false, err
	}
	if err := m.free(s); err != nil {
		return nil, false, err
	}
	raise := raises(before, s)
	changed = raise || !same(before, s)
	if changed {
		s.UpdatedAt = now
		if raise {
			s.Version = s.Version%domain.MaxVersion + 1
		}
		m.users[id] = s
	}
	u, err = user(s)
	return u, changed, err
}

// same tells whether two states are the same, an empty list being as good as none.
func same(a, b domain.UserState) bool {
	equal := slices.Equal(a.Sessions, b.Sessions)
	a.Sessions, b.Sessions = nil, nil
	return equal && reflect.DeepEqual(a, b)
}

// free returns an error if another account has what must be unique.
func (m *model) free(s domain.UserState) error {
	for id, other := range m.users {
		switch {
		case id == s.ID:
		case other.Email == s.Email:
			return refuse(domain.ErrTaken, "email")
		case other.Username == s.Username:
			return refuse(domain.ErrTaken, "username")
		case other.Phone == s.Phone && !s.Phone.IsZero():
			return refuse(domain.ErrTaken, "phone")
		}
	}
	return nil
}

func (m *model) Now() time.Time { return storedTime(m.now()) }

func (m *model) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.find(ctx, func(s domain.UserState) bool { return s.ID == id })
}

func (m *model) FindByEmail(ctx context.Context, email domain.Email) (*domain.User, error) {
	return m.find(ctx, func(s domain.UserState) bool { return s.Email == email })
}

func (m *model) FindByUsername(ctx context.Context, username domain.Username) (*domain.User, error) {
	return m.find(ctx, func(s domain.UserState) bool { return s.Username == username })
}

func (m *model) FindByPhone(ctx context.Context, phone domain.Phone) (*domain.User, error) {
	return m.find(ctx, func(s domain.UserState) bool { return s.Phone == phone && !phone.IsZero() })
}

func exists(_ *domain.User, err error) (bool, error) {
	if errors.Is(err, domain.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (m *model) ExistsByEmail(ctx context.Context, email domain.Email) (bool, error) {
	return exists(m.FindByEmail(ctx, email))
}

func (m *model) ExistsByUsername(ctx context.Context, username domain.Username) (bool, error) {
	return exists(m.FindByUsername(ctx, username))
}

// findMany returns the account of each key, or nil.
func findMany[K comparable](ctx context.Context, m *model, field string, keys []K, of func(domain.UserState) K) (users []*domain.User, err error) {
	if len(keys) > domain.MaxBatch {
		return nil, refuse(domain.ErrInvalid, field)
	}
	users = make([]*domain.User, len(keys))
	err = m.locked(ctx, func(time.Time) error {
		for _, s := range m.users {
			u, err := user(s)
			if err != nil {
				return err
			}
			for i, k := range keys {
				if k == of(s) {
					users[i] = u
				}
			}
		}
		return nil
	})
	return users, err
}

func (m *model) FindByIDs(ctx context.Context, ids []domain.ID) ([]*domain.User, error) {
	return findMany(ctx, m, "id", ids, func(s domain.UserState) domain.ID { return s.ID })
}

func (m *model) FindByEmails(ctx context.Context, emails []domain.Email) ([]*domain.User, error) {
	return findMany(ctx, m, "email", emails, func(s domain.UserState) domain.Email { return s.Email })
}

func (m *model) FindByUsernames(ctx context.Context, usernames []domain.Username) ([]*domain.User, error) {
	return findMany(ctx, m, "username", usernames, func(s domain.UserState) domain.Username { return s.Username })
}

func (m *model) matches(f domain.Filter, s domain.UserState, now time.Time) bool {
	is := func(wanted *bool, is bool) bool { return wanted == nil || *wanted == is }
	if !is(f.Locked, s.LockedUntil.After(now)) || !is(f.SignedIn, !s.LastLogin.IsZero()) || !is(f.WithPhone, !s.Phone.IsZero()) ||
		!is(f.WithPassword, s.PasswordHash != domain.NoPassword()) || !is(f.WithIdentity, m.linked(s.ID) > 0) {
		return false
	}
	if from := storedTime(f.SignedInFrom); !f.SignedInFrom.IsZero() && (s.LastLogin.IsZero() || s.LastLogin.Before(from)) {
		return false
	}
	if before := storedTime(f.SignedInBefore); !f.SignedInBefore.IsZero() && (s.LastLogin.IsZero() || !s.LastLogin.Before(before)) {
		return false
	}
	since := storedTime(f.UnverifiedSince)
	if !f.UnverifiedSince.IsZero() && (s.Verified || !s.CreatedAt.Before(since) || s.Version > 1 && !s.UpdatedAt.Before(since)) {
		return false
	}
	if !f.Name.IsZero() && !f.Name.Matches(domain.Names{First: s.FirstName, Last: s.LastName}) ||
		!f.Domain.IsZero() && !strings.HasSuffix(s.Email.String(), "@"+f.Domain.String()) {
		return false
	}
	search := f.Search.String()
	return (f.Active == nil || *f.Active == s.Active) && (f.Verified == nil || *f.Verified == s.Verified) &&
		(strings.HasPrefix(s.Email.String(), search) || strings.HasPrefix(s.Username.String(), search)) &&
		(f.CreatedFrom.IsZero() || !s.CreatedAt.Before(storedTime(f.CreatedFrom))) &&
		(f.CreatedBefore.IsZero() || s.CreatedAt.Before(storedTime(f.CreatedBefore)))
}

// compare returns how accounts stand in an order.
func compare(order domain.Order, descending bool) func(a, b domain.UserState) int {
	ascending := map[domain.Order]func(a, b domain.UserState) int{
		domain.OrderCreated: func(a, b domain.UserState) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), compareIDs(a.ID, b.ID))
		},
		domain.OrderEmail:    func(a, b domain.UserState) int { return strings.Compare(a.Email.String(), b.Email.String()) },
		domain.OrderUsername: func(a, b domain.UserState) int { return strings.Compare(a.Username.String(), b.Username.String()) },
		domain.OrderLastLogin: func(a, b domain.UserState) int { // the zero time is before all others
			return cmp.Or(a.LastLogin.Compare(b.LastLogin), compareIDs(a.ID, b.ID))
		},
	}[cmp.Or(order, domain.OrderCreated)]
	if descending {
		return func(a, b domain.UserState) int { return ascending(b, a) }
	}
	return ascending
}

// listed returns the accounts that match, from the query's place on, in its order.
func (m *model) listed(query domain.ListQuery, now time.Time) []domain.UserState {
	order := compare(query.Order, query.Descending)
	at, id := query.After.At()
	behind := func(s domain.UserState) bool {
		place := domain.UserState{CreatedAt: at, LastLogin: at, ID: id}
		switch query.Order {
		case domain.OrderEmail:
			return (strings.Compare(s.Email.String(), query.After.Key()) > 0) != query.Descending && s.Email.String() != query.After.Key()
		case domain.OrderUsername:
			return (strings.Compare(s.Username.String(), query.After.Key()) > 0) != query.Descending && s.Username.String() != query.After.Key()
		default:
			return order(s, place) > 0
		}
	}
	var found []domain.UserState
	for _, s := range m.users {
		if m.matches(query.Filter, s, now) && (query.After.IsZero() || behind(s)) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, order)
	return found
}

func (m *model) List(ctx context.Context, query domain.ListQuery) (page domain.Page, err error) {
	query, err = query.Resolve()
	if err != nil {
		return page, err
	}
	err = m.locked(ctx, func(now time.Time) error {
		found := m.listed(query, now)
		for i := range found {
			s := &found[i]
			s.ResetToken, s.VerificationToken, s.PhoneCode = domain.TokenDigest{}, domain.TokenDigest{}, domain.TokenDigest{}
			if s.PasswordHash != domain.NoPassword() {
				s.PasswordHash = domain.PasswordHash{}
			}
		}
		for i, s := range found {
			if i == query.Limit {
				page.Next = query.CursorAfter(page.Users[i-1])
				break
			}
			u, err := user(s)
			if err != nil {
				return err
			}
			page.Users = append(page.Users, u)
		}
		return nil
	})
	return page, err
}

func (m *model) Count(ctx context.Context, filter domain.Filter) (n int, err error) {
	err = m.locked(ctx, func(now time.Time) error {
		for _, s := range m.users {
			if m.matches(filter, s, now) {
				n++
			}
		}
		return nil
	})
	return n, err
}

func (m *model) Create(ctx context.Context, u *domain.User) error {
	return m.locked(ctx, func(time.Time) error {
		s := u.State()
		s.Sessions = slices.Clone(s.Sessions)
		switch {
		case s.PasswordHash.IsZero():
			return refuse(domain.ErrInvalid, "hashed_password")
		case strings.ToLower(s.Email.String()) != s.Email.String():
			return refuse(domain.ErrInvalid, "email")
		case strings.ToLower(s.Username.String()) != s.Username.String():
			return refuse(domain.ErrInvalid, "username")
		}
		if _, known := m.users[s.ID]; known {
			return refuse(domain.ErrConflict, "id")
		}
		if err := m.free(s); err != nil {
			return err
		}
		m.users[s.ID] = s
		return nil
	})
}

func (m *model) Update(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	for {
		u, err := m.FindByID(ctx, id)
		if err != nil {
			return nil, err
		}
		read := u.State()
		if err := change(u); err != nil {
			return nil, err
		}
		stored, err := m.change(ctx, id, func(s *domain.UserState, _ time.Time) error {
			changed := u.State()
			// What is issued for an address or a number goes with it, also if it was issued since the account was read.
			replaces := changed.Email != read.Email || changed.PendingEmail != read.PendingEmail || changed.Phone != read.Phone || changed.Active != read.Active
			if s.Version != read.Version || replaces && !same(*s, read) {
				return refuse(domain.ErrConflict, "version")
			}
			merge(s, read, changed)
			return nil
		})
		if !errors.Is(err, domain.ErrConflict) {
			return stored, err
		}
	}
}

// merge gives s the fields in which changed differs from read.
func merge(s *domain.UserState, read, changed domain.UserState) {
	to, from, before := reflect.ValueOf(s).Elem(), reflect.ValueOf(changed), reflect.ValueOf(read)
	for i := range to.NumField() {
		if !reflect.DeepEqual(from.Field(i).Interface(), before.Field(i).Interface()) {
			to.Field(i).Set(from.Field(i))
		}
	}
}

// by changes an account by the entity's own method.
func (m *model) by(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	return m.change(ctx, id, ruleOf(change))
}

// ruleOf applies a change of the entity to its state.
func ruleOf(change func(*domain.User) error) func(*domain.UserState, time.Time) error {
	return func(s *domain.UserState, _ time.Time) error {
		u, err := domain.RestoreUser(*s)
		if err != nil {
			return err
		}
		if err := change(u); err != nil {
			return err
		}
		*s = u.State()
		return nil
	}
}

func (m *model) SetEmail(ctx context.Context, id domain.ID, email domain.Email) (*domain.User, error) {
	if email.IsZero() {
		return nil, refuse(domain.ErrInvalid, "email")
	}
	return m.by(ctx, id, func(u *domain.User) error { return u.ChangeEmail(email) })
}

func (m *model) SetUsername(ctx context.Context, id domain.ID, username domain.Username) (*domain.User, error) {
	if username.IsZero() {
		return nil, refuse(domain.ErrInvalid, "username")
	}
	return m.by(ctx, id, func(u *domain.User) error { return u.ChangeUsername(username) })
}

func (m *model) SetNames(ctx context.Context, id domain.ID, names domain.Names) (*domain.User, error) {
	if _, err := domain.ParseNames(names.First, names.Last); err != nil {
		return nil, err
	}
	return m.by(ctx, id, func(u *domain.User) error { return u.Rename(names.First, names.Last) })
}

func (m *model) SetPhone(ctx context.Context, id domain.ID, phone domain.Phone) (*domain.User, error) {
	return m.by(ctx, id, func(u *domain.User) error { u.ChangePhone(phone); return nil })
}

func (m *model) Activate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.by(ctx, id, func(u *domain.User) error { u.Activate(); return nil })
}

func (m *model) Deactivate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.by(ctx, id, func(u *domain.User) error { u.Deactivate(); return nil })
}

// many changes accounts and returns the IDs of those that this changed.
func (m *model) many(
	ctx context.Context, ids []domain.ID, raises func(before, after domain.UserState) bool, rule func(*domain.UserState, time.Time) error,
) (changed []domain.ID, err error) {
	if len(ids) > domain.MaxBatch {
		return nil, refuse(domain.ErrInvalid, "id")
	}
	err = m.locked(ctx, func(now time.Time) error {
		for _, id := range ids {
			_, did, err := m.put(id, now, raises, rule)
			if err != nil && !errors.Is(err, domain.ErrNotFound) {
				return err
			}
			if did {
				changed = append(changed, id)
			}
		}
		return nil
	})
	return changed, err
}

func (m *model) ActivateMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return m.many(ctx, ids, edited, ruleOf(func(u *domain.User) error { u.Activate(); return nil }))
}

func (m *model) DeactivateMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return m.many(ctx, ids, edited, ruleOf(func(u *domain.User) error { u.Deactivate(); return nil }))
}

func (m *model) RevokeMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return m.many(ctx, ids, never, revoke)
}

func (m *model) Purge(ctx context.Context, query domain.ListQuery) (purged domain.Purged, err error) {
	query, err = query.ResolvePurge()
	if err != nil {
		return purged, err
	}
	err = m.locked(ctx, func(now time.Time) error {
		found := m.listed(query, now)
		purged.Next, purged.Done = query.After, len(found) < query.Limit
		for _, s := range found[:min(query.Limit, len(found))] {
			u, err := user(s)
			if err != nil {
				return err
			}
			purged.IDs, purged.Next = append(purged.IDs, s.ID), query.CursorAfter(u)
			m.remove(s.ID)
		}
		return nil
	})
	return purged, err
}

func (m *model) remove(id domain.ID) {
	delete(m.users, id)
	m.links = slices.DeleteFunc(m.links, func(l domain.LinkedIdentity) bool { return l.UserID == id })
}

func (m *model) Verify(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.by(ctx, id, func(u *domain.User) error { u.Verify(); return nil })
}

func (m *model) RecordSignIn(ctx context.Context, id domain.ID) (at time.Time, err error) {
	_, err = m.keepBooks(ctx, id, func(s *domain.UserState, now time.Time) error {
		s.LastLogin, at = now, now
		return nil
	})
	return at, err
}

func (m *model) Delete(ctx context.Context, id domain.ID) error {
	return m.delete(ctx, id, func(domain.UserState) bool { return true })
}

func (m *model) DeleteAt(ctx context.Context, id domain.ID, version int64) error {
	return m.delete(ctx, id, func(s domain.UserState) bool { return s.Version == version })
}

func (m *model) delete(ctx context.Context, id domain.ID, expected func(domain.UserState) bool) error {
	return m.locked(ctx, func(time.Time) error {
		s, known := m.users[id]
		switch {
		case !known:
			return refuse(domain.ErrNotFound, "")
		case !expected(s):
			return refuse(domain.ErrConflict, "version")
		}
		m.remove(id)
		return nil
	})
}

func notLocked(s *domain.UserState, now time.Time) error {
	if s.LockedUntil.After(now) {
		return &domain.Error{Kind: domain.ErrLocked, Until: s.LockedUntil}
	}
	return nil
}

func (m *model) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	policy, err := policy.Resolve()
	if err != nil {
		return nil, err
	}
	return m.keepBooks(ctx, id, func(s *domain.UserState, now time.Time) error {
		if err := notLocked(s, now); err != nil {
			return err
		}
		if !s.LockedUntil.IsZero() {
			s.FailedLoginAttempts, s.LockedUntil = 0, time.Time{}
		}
		s.FailedLoginAttempts = min(s.FailedLoginAttempts, domain.MaxFailedLoginAttempts-1) + 1
		if policy.Attempts != domain.NoLock && s.FailedLoginAttempts >= policy.Attempts {
			s.LockedUntil = storedTime(now.Add(policy.Duration))
		}
		return nil
	})
}

func (m *model) RecordSuccess(ctx context.Context, id domain.ID, checked, better domain.PasswordHash) (at time.Time, err error) {
	_, err = m.keepBooks(ctx, id, func(s *domain.UserState, now time.Time) error {
		if s.PasswordHash != checked || checked == domain.NoPassword() {
			return refuse(domain.ErrConflict, "hashed_password")
		}
		if err := notLocked(s, now); err != nil {
			return err
		}
		if !s.Active {
			return refuse(domain.ErrInactive, "")
		}
		s.FailedLoginAttempts, s.LockedUntil, s.LastLogin, at = 0, time.Time{}, now, now
		if !better.IsZero() {
			s.PasswordHash = better
		}
		return nil
	})
	return at, err
}

// newPassword is what SetPassword and ConsumeReset have in common.
func newPassword(s *domain.UserState, now time.Time, hash domain.PasswordHash, keep domain.SessionID) {
	s.PasswordHash, s.PendingEmail = hash, domain.Email{}
	s.Sessions = s.Sessions.RevokeOthers(keep, now).Prune(now)
	s.ResetToken, s.ResetTokenExpiry = domain.TokenDigest{}, time.Time{}
	s.VerificationToken, s.VerificationTokenExpiry = domain.TokenDigest{}, time.Time{}
	s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = domain.TokenDigest{}, time.Time{}, 0
	s.FailedLoginAttempts, s.LockedUntil = 0, time.Time{}
}

func (m *model) SetPassword(
	ctx context.Context, id domain.ID, checked, hash domain.PasswordHash, keep domain.SessionID,
) (*domain.User, error) {
	if !hash.HasPassword() {
		return nil, refuse(domain.ErrInvalid, "hashed_password")
	}
	return m.write(ctx, id, always, func(s *domain.UserState, now time.Time) error {
		if !checked.IsZero() && s.PasswordHash != checked {
			return refuse(domain.ErrConflict, "hashed_password")
		}
		newPassword(s, now, hash, keep)
		return nil
	})
}

func (m *model) Unlock(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		s.FailedLoginAttempts, s.LockedUntil = 0, time.Time{}
		return nil
	})
}

func (m *model) LockUntil(ctx context.Context, id domain.ID, until time.Time) (*domain.User, error) {
	if until.IsZero() {
		return nil, refuse(domain.ErrInvalid, "locked_until")
	}
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		s.LockedUntil = storedTime(until)
		return nil
	})
}

func (m *model) IssueReset(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	if digest.IsZero() {
		return nil, refuse(domain.ErrInvalid, "reset_token")
	}
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		if !s.Active {
			return refuse(domain.ErrInactive, "")
		}
		s.ResetToken, s.ResetTokenExpiry = digest, storedTime(expiry)
		return nil
	})
}

func (m *model) IssueVerification(
	ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time,
) (*domain.User, error) {
	if digest.IsZero() {
		return nil, refuse(domain.ErrInvalid, "verification_token")
	}
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		if !s.Active {
			return refuse(domain.ErrInactive, "")
		}
		s.VerificationToken, s.VerificationTokenExpiry = digest, storedTime(expiry)
		return nil
	})
}

func (m *model) CancelReset(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		s.ResetToken, s.ResetTokenExpiry = domain.TokenDigest{}, time.Time{}
		return nil
	})
}

func (m *model) CancelVerification(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		s.VerificationToken, s.VerificationTokenExpiry = domain.TokenDigest{}, time.Time{}
		return nil
	})
}

func (m *model) RequestEmail(
	ctx context.Context, id domain.ID, email domain.Email, digest domain.TokenDigest, expiry time.Time,
) (*domain.User, error) {
	switch {
	case email.IsZero():
		return nil, refuse(domain.ErrInvalid, "pending_email")
	case digest.IsZero():
		return nil, refuse(domain.ErrInvalid, "verification_token")
	}
	return m.change(ctx, id, func(s *domain.UserState, _ time.Time) error {
		switch holder := m.holder(email); {
		case !s.Active:
			return refuse(domain.ErrInactive, "")
		case holder == id:
			return refuse(domain.ErrInvalid, "pending_email")
		case !holder.IsZero():
			return refuse(domain.ErrTaken, "email")
		}
		s.PendingEmail, s.VerificationToken, s.VerificationTokenExpiry = email, digest, storedTime(expiry)
		return nil
	})
}

// holder returns the account that has the address.
func (m *model) holder(email domain.Email) domain.ID {
	for id, s := range m.users {
		if s.Email == email {
			return id
		}
	}
	return domain.ID{}
}

func (m *model) CancelEmail(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.by(ctx, id, func(u *domain.User) error { u.CancelEmail(); return nil })
}

// consume changes the account that holds a token, which the rule must remove.
func (m *model) consume(
	ctx context.Context, digest domain.TokenDigest, held func(*domain.UserState) (domain.TokenDigest, time.Time),
	raises func(before, after domain.UserState) bool, rule func(s *domain.UserState, now time.Time),
) (*domain.User, error) {
	if digest.IsZero() {
		return nil, refuse(domain.ErrTokenInvalid, "token")
	}
	holder, err := m.find(ctx, func(s domain.UserState) bool { d, _ := held(&s); return d == digest })
	if errors.Is(err, domain.ErrNotFound) {
		return nil, refuse(domain.ErrTokenInvalid, "token")
	}
	if err != nil {
		return nil, err
	}
	u, err := m.write(ctx, holder.ID(), raises, func(s *domain.UserState, now time.Time) error {
		d, expiry := held(s)
		switch {
		case d != digest: // meanwhile
			return refuse(domain.ErrTokenInvalid, "token")
		case !expiry.After(now):
			return refuse(domain.ErrTokenExpired, "token")
		}
		rule(s, now)
		return nil
	})
	if errors.Is(err, domain.ErrNotFound) {
		return nil, refuse(domain.ErrTokenInvalid, "token")
	}
	return u, err
}

func (m *model) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	if !hash.HasPassword() {
		return nil, refuse(domain.ErrInvalid, "hashed_password")
	}
	return m.consume(ctx, digest, func(s *domain.UserState) (domain.TokenDigest, time.Time) {
		return s.ResetToken, s.ResetTokenExpiry
	}, always, func(s *domain.UserState, now time.Time) {
		newPassword(s, now, hash, domain.SessionID{})
		s.Verified = true
	})
}

func (m *model) ConsumeVerification(ctx context.Context, digest domain.TokenDigest) (domain.Confirmation, error) {
	var already bool
	u, err := m.consume(ctx, digest, func(s *domain.UserState) (domain.TokenDigest, time.Time) {
		if already = s.VerificationTokenExpiry.IsZero(); already {
			return s.VerificationToken, m.now().Add(time.Hour)
		}
		return s.VerificationToken, s.VerificationTokenExpiry
	}, edited, func(s *domain.UserState, _ time.Time) {
		if already {
			return
		}
		s.Verified, s.VerificationTokenExpiry = true, time.Time{}
		if !s.PendingEmail.IsZero() {
			s.Email, s.PendingEmail = s.PendingEmail, domain.Email{}
			s.ResetToken, s.ResetTokenExpiry = domain.TokenDigest{}, time.Time{}
		}
	})
	if err != nil {
		return domain.Confirmation{}, err
	}
	return domain.Confirmation{User: u, Email: u.Email(), Already: already}, nil
}

func (m *model) IssueToken(ctx context.Context, id domain.ID, policy domain.SessionPolicy) (domain.Grant, error) {
	if _, _, err := (domain.SessionList{}).Issue(id, m.now(), policy); err != nil {
		return domain.Grant{}, err
	}
	var token domain.RefreshToken
	_, err := m.keepBooks(ctx, id, func(s *domain.UserState, now time.Time) (err error) {
		if !s.Active {
			return refuse(domain.ErrInactive, "")
		}
		s.Sessions, token, err = s.Sessions.Issue(id, now, policy)
		return err
	})
	if err != nil {
		return domain.Grant{}, err
	}
	return granted(token), nil
}

func (m *model) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	if _, _, err := (domain.SessionList{token.Entry()}).Rotate(token, m.now(), policy); err != nil {
		return domain.Grant{}, err
	}
	presented := token
	var reused error
	_, err := m.keepBooks(ctx, token.UserID(), func(s *domain.UserState, now time.Time) (err error) {
		if !s.Active {
			return refuse(domain.ErrInactive, "")
		}
		s.Sessions, token, err = s.Sessions.Rotate(presented, now, policy)
		if errors.Is(err, domain.ErrTokenReused) {
			reused, err = err, nil
		}
		return err
	})
	switch {
	case errors.Is(err, domain.ErrNotFound):
		return domain.Grant{}, refuse(domain.ErrTokenInvalid, "token")
	case err != nil || reused != nil:
		return domain.Grant{}, errors.Join(err, reused)
	}
	return granted(token), nil
}

func granted(token domain.RefreshToken) domain.Grant {
	return domain.Grant{UserID: token.UserID(), Session: token.Session(), Token: token}
}

func (m *model) FindByToken(ctx context.Context, token domain.RefreshToken) (*domain.User, domain.Session, error) {
	u, err := m.find(ctx, func(s domain.UserState) bool { return s.ID == token.UserID() })
	if errors.Is(err, domain.ErrNotFound) {
		return nil, domain.Session{}, refuse(domain.ErrTokenInvalid, "token")
	}
	if err != nil {
		return nil, domain.Session{}, err
	}
	session, err := u.FindSession(token, m.now())
	if err != nil {
		return nil, domain.Session{}, err
	}
	return u, session, nil
}

func (m *model) Sessions(ctx context.Context, id domain.ID) ([]domain.Session, error) {
	u, err := m.FindByID(ctx, id)
	if err != nil {
		return nil, err
	}
	return u.Sessions(m.now()), nil
}

func (m *model) RevokeSession(ctx context.Context, id domain.ID, session domain.SessionID) (*domain.User, error) {
	return m.keepBooks(ctx, id, func(s *domain.UserState, now time.Time) error {
		s.Sessions = s.Sessions.Revoke(session, now)
		return nil
	})
}

func (m *model) RevokeOtherSessions(ctx context.Context, id domain.ID, keep domain.SessionID) (*domain.User, error) {
	return m.keepBooks(ctx, id, func(s *domain.UserState, now time.Time) error {
		s.Sessions = s.Sessions.RevokeOthers(keep, now)
		return nil
	})
}

func (m *model) RevokeSessions(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.keepBooks(ctx, id, revoke)
}

func revoke(s *domain.UserState, _ time.Time) error {
	s.Sessions = nil
	return nil
}

func (m *model) CountSessions(ctx context.Context) (n int, err error) {
	err = m.locked(ctx, func(now time.Time) error {
		for _, s := range m.users {
			n += len(s.Sessions.Sessions(now))
		}
		return nil
	})
	return n, err
}

// behind returns the IDs of the accounts behind one, in their order.
func (m *model) behind(after domain.ID) []domain.ID {
	var ids []domain.ID
	for id := range m.users {
		if compareIDs(id, after) > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

func (m *model) SweepSessions(ctx context.Context, after domain.ID, limit int) (sweep domain.Sweep, err error) {
	return m.sweep(ctx, after, limit, domain.SessionList.Prune)
}

func (m *model) RevokeEverybody(ctx context.Context, after domain.ID, limit int) (domain.Sweep, error) {
	return m.sweep(ctx, after, limit, func(domain.SessionList, time.Time) domain.SessionList { return nil })
}

func (m *model) sweep(
	ctx context.Context, after domain.ID, limit int, rule func(domain.SessionList, time.Time) domain.SessionList,
) (sweep domain.Sweep, err error) {
	if limit < 1 {
		return sweep, refuse(domain.ErrInvalid, "limit")
	}
	err = m.locked(ctx, func(now time.Time) error {
		ids := m.behind(after)
		sweep = domain.Sweep{Next: after, Done: len(ids) < limit}
		for _, id := range ids[:min(limit, len(ids))] {
			s := m.users[id]
			if kept := rule(s.Sessions, now); len(kept) < len(s.Sessions) {
				s.Sessions, s.UpdatedAt = kept, now
				m.users[id] = s
				sweep.Swept++
			}
			sweep.Next, sweep.Visited = id, sweep.Visited+1
		}
		return nil
	})
	return sweep, err
}
