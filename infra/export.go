package infra

import (
	"context"
	"iter"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/identity"
)

// exportPage is how many accounts one statement of an export reads: few enough to be small beside the program itself.
const exportPage = 1000

// Export returns all accounts, the oldest first, without password hashes and token digests. It reads them page by page, by keyset, so that it takes
// the same memory for any number of them; accounts that are created or deleted meanwhile may or may not be among them, and no other is left out or
// returned twice.
//
// For a row that is not in the form of an account it returns a [domain.Malformed] as the error, and goes on. Any other error ends it: that of
// ctx, or [domain.ErrUnavailable].
func (r *repository) Export(ctx context.Context) iter.Seq2[*domain.User, error] {
	return r.export(ctx, false)
}

// ExportWithHashes is Export with the password hashes, which are secrets.
func (r *repository) ExportWithHashes(ctx context.Context) iter.Seq2[*domain.User, error] {
	return r.export(ctx, true)
}

func (r *repository) export(ctx context.Context, withHashes bool) iter.Seq2[*domain.User, error] {
	const op = "export users"
	return func(yield func(*domain.User, error) bool) {
		query := domain.ListQuery{Order: domain.OrderCreated, Limit: exportPage}
		for more := true; more; {
			var rows []listed
			var err error
			if rows, more, err = r.reader().page(ctx, op, query, withHashes); err != nil {
				yield(nil, err)
				return
			}
			for _, l := range rows {
				var err error
				if l.malformed != nil {
					err = l.malformed
				}
				if !yield(l.user, err) {
					return
				}
				query.After = l.at
			}
		}
	}
}

// ExportIdentities returns the identities of some accounts, at most some thousand at a time, each account's in the order of
// [domain.IdentityStore]'s Identities. An account without any is not in the map. An identity that cannot be read is left out, and reported
// by the account's ID and the column.
func (r *repository) ExportIdentities(ctx context.Context, users []*domain.User) (map[domain.ID][]domain.LinkedIdentity, []*domain.Malformed, error) {
	const op = "export identities"
	ids := make([]string, len(users))
	for i, u := range users {
		if u == nil {
			return nil, nil, wrap(op, required("user"))
		}
		ids[i] = u.ID().String()
	}
	var left []*domain.Malformed
	links, err := collect(ctx, r.reader(), op, r.texts.linksOf, []any{r.dialect.list(ids)}, scanLink)
	all := make(map[domain.ID][]domain.LinkedIdentity)
	for _, link := range links {
		if link.malformed != nil {
			left = append(left, link.malformed)
			continue
		}
		all[link.UserID] = append(all[link.UserID], link.LinkedIdentity)
	}
	return all, left, err
}

// storedLink is an identity, or what is wrong with it.
type storedLink struct {
	domain.LinkedIdentity
	malformed *domain.Malformed
}

// scanLink reads a row of the statement linksOf.
func scanLink(rows Rows) (link storedLink, err error) {
	var values [4]any
	err = rows.Scan(&link.UserID, &values[0], &values[1], &values[2], &values[3])
	if err == nil {
		link.read(values)
	}
	return link, err
}

// read takes the stored issuer, subject and times.
func (l *storedLink) read(values [4]any) {
	var issuer, subject string
	for i, c := range []struct {
		name string
		set  func(any) error
	}{
		{identity.FieldIssuer, func(v any) error { return someText(&issuer, v) }},
		{identity.FieldSubject, func(v any) error { return someText(&subject, v) }},
		{identity.FieldCreatedAt, func(v any) error { return instant(&l.CreatedAt, v) }},
		{identity.FieldLastUsedAt, func(v any) error { return instant(&l.LastUsedAt, v) }},
	} {
		if err := c.set(values[i]); err != nil && l.malformed == nil {
			l.malformed = &domain.Malformed{ID: l.UserID, Column: c.name, Reason: err.Error()}
		}
	}
	l.Identity = domain.RestoreIdentity(issuer, subject)
}
