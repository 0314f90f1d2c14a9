package domaintest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/softbee/accounts/domain"
)

// link returns the place of an identity in the list of links, or -1.
func (m *model) link(identity domain.Identity) int {
	return slices.IndexFunc(m.links, func(l domain.LinkedIdentity) bool { return l.Identity == identity })
}

func (m *model) FindByIdentity(ctx context.Context, identity domain.Identity) (u *domain.User, err error) {
	err = m.locked(ctx, func(time.Time) error {
		i := m.link(identity)
		if i < 0 {
			return refuse(domain.ErrNotFound, "")
		}
		u, err = user(m.users[m.links[i].UserID])
		return err
	})
	return u, err
}

func (m *model) Identities(ctx context.Context, id domain.ID) (links []domain.LinkedIdentity, err error) {
	err = m.locked(ctx, func(time.Time) error {
		if _, known := m.users[id]; !known {
			return refuse(domain.ErrNotFound, "")
		}
		for _, l := range m.links {
			if l.UserID == id {
				links = append(links, l)
			}
		}
		slices.SortFunc(links, func(a, b domain.LinkedIdentity) int {
			return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Identity.Issuer(), b.Identity.Issuer()),
				cmp.Compare(a.Identity.Subject(), b.Identity.Subject()))
		})
		return nil
	})
	return links, err
}

func (m *model) LinkIdentity(ctx context.Context, id domain.ID, identity domain.Identity) (link domain.LinkedIdentity, err error) {
	if identity.IsZero() {
		return link, refuse(domain.ErrInvalid, "identity")
	}
	err = m.locked(ctx, func(now time.Time) error {
		if _, known := m.users[id]; !known {
			return refuse(domain.ErrNotFound, "")
		}
		if m.link(identity) >= 0 {
			return refuse(domain.ErrTaken, "identity")
		}
		link = domain.LinkedIdentity{Identity: identity, UserID: id, CreatedAt: now}
		m.links = append(m.links, link)
		return nil
	})
	return link, err
}

// linked counts the identities of an account.
func (m *model) linked(id domain.ID) (n int) {
	for _, l := range m.links {
		if l.UserID == id {
			n++
		}
	}
	return n
}

func (m *model) UnlinkIdentity(ctx context.Context, id domain.ID, identity domain.Identity, force bool) error {
	return m.locked(ctx, func(time.Time) error {
		s, known := m.users[id]
		if !known {
			return refuse(domain.ErrNotFound, "")
		}
		i := m.link(identity)
		switch {
		case i < 0 || m.links[i].UserID != id:
			return refuse(domain.ErrNotFound, "identity")
		case !force && s.PasswordHash == domain.NoPassword() && m.linked(id) == 1:
			return refuse(domain.ErrConflict, "identity")
		}
		m.links = slices.Delete(m.links, i, i+1)
		return nil
	})
}

func (m *model) RecordIdentitySignIn(ctx context.Context, identity domain.Identity) (*domain.User, error) {
	holder, err := m.FindByIdentity(ctx, identity)
	if err != nil {
		return nil, err
	}
	return m.keepBooks(ctx, holder.ID(), func(s *domain.UserState, now time.Time) error {
		i := m.link(identity)
		switch {
		case i < 0:
			return refuse(domain.ErrNotFound, "")
		case !s.Active:
			return refuse(domain.ErrInactive, "")
		}
		s.LastLogin, m.links[i].LastUsedAt = now, now
		return nil
	})
}

func (m *model) RemovePassword(ctx context.Context, id domain.ID, keep domain.SessionID, force bool) (*domain.User, error) {
	return m.change(ctx, id, func(s *domain.UserState, now time.Time) error {
		switch {
		case s.PasswordHash == domain.NoPassword():
		case !force && m.linked(id) == 0:
			return refuse(domain.ErrConflict, "hashed_password")
		default:
			newPassword(s, now, domain.NoPassword(), keep)
		}
		return nil
	})
}
