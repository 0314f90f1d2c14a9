package infra

import (
	"context"
	"iter"

	"github.com/softbee/accounts/domain"
)

// exportPage is how many accounts one statement of an export reads: few enough to be small beside the program itself.
const exportPage = 1000

// Export returns all accounts, the oldest first. It reads them page by page, by keyset, so that it takes the same memory for
// any number of them; accounts that are made or deleted meanwhile may or may not be among them, and no other is left out or
// returned twice. The users have no token digests, and their password hashes only if withHashes is true: those are secrets.
//
// For a row that is not in the form of an account it returns a [domain.Malformed] as the error, and goes on. Any other error ends it: that of
// ctx, or [domain.ErrUnavailable].
func (r *repository) Export(ctx context.Context, withHashes bool) iter.Seq2[*domain.User, error] {
	const op = "export users"
	return func(yield func(*domain.User, error) bool) {
		query := domain.ListQuery{Order: domain.OrderCreated, Limit: exportPage}
		for more := true; more; {
			var rows []listed
			var err error
			if rows, more, err = r.page(ctx, op, query, withHashes); err != nil {
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
// [domain.IdentityStore]'s Identities. An account without any is not in the map.
func (r *repository) ExportIdentities(ctx context.Context, users []*domain.User) (map[domain.ID][]domain.LinkedIdentity, error) {
	ids := make([]string, len(users))
	for i, u := range users {
		if u == nil {
			return nil, wrap("export identities", required("user"))
		}
		ids[i] = u.ID().String()
	}
	links, err := collect(ctx, r, "export identities", r.texts.linksOf, []any{r.dialect.list(ids)}, func(rows Rows) (link domain.LinkedIdentity, err error) {
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
