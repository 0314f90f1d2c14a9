package infra

import (
	"context"
	"iter"
	"slices"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// exportPage is how many accounts one statement of an export reads: few enough to be small beside the program itself.
const exportPage = 1000

// Export returns all accounts, the oldest first. It reads them page by page, by keyset, so that it takes the same memory for
// any number of them; accounts that are made or deleted meanwhile may or may not be among them, and no other is left out or
// returned twice. The users have no token digests, and their password hashes only if withHashes is true: those are secrets.
//
// An error ends it: that of ctx, [domain.ErrUnavailable], or what makes a row unreadable.
func (s *Store) Export(ctx context.Context, withHashes bool) iter.Seq2[*domain.User, error] {
	const op = "export users"
	columns := listed
	if withHashes {
		columns = append(slices.Clone(listed), user.FieldHashedPassword)
	}
	after := orders[domain.OrderCreated].after
	return func(yield func(*domain.User, error) bool) {
		var last domain.Cursor
		for {
			query := s.client.User.Query().Order(user.ByCreatedAt(), user.ByID()).Limit(exportPage)
			if !last.IsZero() {
				query.Where(after(last))
			}
			rows, err := query.Select(columns...).All(ctx)
			if err != nil {
				yield(nil, s.failure(ctx, op, err))
				return
			}
			for _, row := range rows {
				u, err := toDomain(row)
				if err != nil {
					yield(nil, wrap(op, err))
					return
				}
				if !yield(u, nil) {
					return
				}
				last = domain.CursorAfter(domain.OrderCreated, u)
			}
			if len(rows) < exportPage {
				return
			}
		}
	}
}
