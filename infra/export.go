package infra

import (
	"context"
	"iter"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/predicate"
)

// exportPage is how many accounts one statement of an export reads: few enough to be small beside the program itself.
const exportPage = 1000

// Export returns all accounts, the oldest first. It reads them page by page, by keyset, so that it takes the same memory for
// any number of them; accounts that are made or deleted meanwhile may or may not be among them, and no other is left out or
// returned twice. The users have no token digests, and their password hashes only if withHashes is true: those are secrets.
//
// An error ends it: that of ctx, [domain.ErrUnavailable], or what makes a row unreadable.
func (r *repository) Export(ctx context.Context, withHashes bool) iter.Seq2[*domain.User, error] {
	const op = "export users"
	order := orders[domain.OrderCreated]
	return func(yield func(*domain.User, error) bool) {
		var last domain.Cursor
		for {
			users, err := r.page(ctx, op, []predicate.User{order.after(last)}, order.by, exportPage, withHashes)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, u := range users {
				if !yield(u, nil) {
					return
				}
				last = domain.CursorAfter(domain.OrderCreated, u)
			}
			if len(users) < exportPage {
				return
			}
		}
	}
}

// ExportIdentities returns the identities of some accounts, at most some thousand at a time, each account's in the order of
// [domain.IdentityStore]'s Identities. An account without any is not in the map.
func (r *repository) ExportIdentities(ctx context.Context, users []*domain.User) (map[domain.ID][]domain.LinkedIdentity, error) {
	ids := make([]string, len(users))
	for i, u := range users {
		if u == nil {
			return nil, wrap("export identities", required("user"))
		}
		ids[i] = u.ID().String()
	}
	links, err := collect(ctx, r, "export identities", r.texts.linksOf, []any{r.dialect.idList(ids)}, func(rows Rows) (link domain.LinkedIdentity, err error) {
		var issuer, subject string
		err = rows.Scan(&link.UserID, &issuer, &subject, (*storedTime)(&link.CreatedAt), (*storedTime)(&link.LastUsedAt))
		link.Identity = domain.RestoreIdentity(issuer, subject)
		return link, err
	})
	all := make(map[domain.ID][]domain.LinkedIdentity)
	for _, link := range links {
		all[link.UserID] = append(all[link.UserID], link)
	}
	return all, err
}
