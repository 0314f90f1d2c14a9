package infra

import (
	"context"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/predicate"
	"github.com/softbee/accounts/ent/user"
)

// listed are the columns of a list: no hash and no digests of one-time tokens.
var listed = columnsBut(user.FieldHashedPassword, user.FieldResetToken, user.FieldVerificationToken)

func columnsBut(excluded ...string) []string {
	skip := make(map[string]bool)
	for _, column := range excluded {
		skip[column] = true
	}
	var columns []string
	for _, column := range user.Columns {
		if !skip[column] {
			columns = append(columns, column)
		}
	}
	return columns
}

// List implements [domain.UserReader].
func (s *Store) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	const op = "list users"
	query, err := query.Resolve()
	if err != nil {
		return domain.Page{}, wrap(op, err)
	}
	order := orders[query.Order]
	by := order.by
	if !query.Filter.Search.IsZero() {
		by = order.bySorting()
	}
	where := filtered(query.Filter)
	if !query.After.IsZero() {
		where = append(where, order.after(query.After))
	}
	rows, err := s.client.User.Query().Where(where...).Order(by...).
		Limit(query.Limit + 1). // one more tells whether there is a next page
		Select(listed...).All(ctx)
	if err != nil {
		return domain.Page{}, s.failure(ctx, op, err)
	}
	var page domain.Page
	for i, row := range rows {
		if i == query.Limit {
			page.Next = domain.CursorAfter(query.Order, page.Users[i-1])
			break
		}
		u, err := toDomain(row)
		if err != nil {
			return domain.Page{}, wrap(op, err)
		}
		page.Users = append(page.Users, u)
	}
	return page, nil
}

// Count implements [domain.UserReader].
func (s *Store) Count(ctx context.Context, filter domain.Filter) (int, error) {
	n, err := s.client.User.Query().Where(filtered(filter)...).Count(ctx)
	if err != nil {
		return 0, s.failure(ctx, "count users", err)
	}
	return n, nil
}

// ordering is how one order is read from its index.
type ordering struct {
	columns []string
	by      []user.OrderOption
	after   func(domain.Cursor) predicate.User
}

var orders = map[domain.Order]ordering{
	domain.OrderCreated: {
		columns: []string{user.FieldCreatedAt, user.FieldID},
		by:      []user.OrderOption{user.ByCreatedAt(), user.ByID()},
		after: func(c domain.Cursor) predicate.User {
			createdAt, id := c.Created()
			return func(s *sql.Selector) {
				s.Where(sql.CompositeGT([]string{s.C(user.FieldCreatedAt), s.C(user.FieldID)}, createdAt, id.UUID()))
			}
		},
	},
	domain.OrderEmail: {
		columns: []string{user.FieldEmail},
		by:      []user.OrderOption{user.ByEmail()},
		after:   func(c domain.Cursor) predicate.User { return user.EmailGT(c.Key()) },
	},
	domain.OrderUsername: {
		columns: []string{user.FieldUsername},
		by:      []user.OrderOption{user.ByUsername()},
		after:   func(c domain.Cursor) predicate.User { return user.UsernameGT(c.Key()) },
	},
}

// bySorting is by, in words that no index has. What a search finds stands together in the index of its column; a database
// that reads the order's index instead, in the hope of a match every few rows, reads nearly all of it.
func (o ordering) bySorting() []user.OrderOption {
	var by []user.OrderOption
	for _, column := range o.columns {
		by = append(by, func(s *sql.Selector) {
			s.OrderExpr(sql.ExprFunc(func(b *sql.Builder) {
				b.WriteString("coalesce(").Ident(s.C(column)).Comma().Ident(s.C(column)).WriteString(")")
			}))
		})
	}
	return by
}

func filtered(filter domain.Filter) []predicate.User {
	var where []predicate.User
	if filter.Active != nil {
		where = append(where, user.IsActive(*filter.Active))
	}
	if filter.Verified != nil {
		where = append(where, user.IsVerified(*filter.Verified))
	}
	if !filter.Search.IsZero() {
		first, last := prefixRange(filter.Search)
		where = append(where, user.Or(
			user.And(user.EmailGTE(first), user.EmailLTE(last)),
			user.And(user.UsernameGTE(first), user.UsernameLTE(last)),
		))
	}
	if !filter.CreatedFrom.IsZero() {
		where = append(where, user.CreatedAtGTE(domain.StoredTime(filter.CreatedFrom)))
	}
	if !filter.CreatedBefore.IsZero() {
		where = append(where, user.CreatedAtLT(domain.StoredTime(filter.CreatedBefore)))
	}
	return where
}

// prefixRange returns the first and the last text that begins with prefix. Both columns are compared byte by byte, so
// that their indexes serve the range, also in a prepared statement, where LIKE would need to see its pattern; and no
// character needs escaping. U+10FFFF, the last code point, is a noncharacter and in no text.
func prefixRange(prefix domain.Prefix) (first, last string) {
	return prefix.String(), prefix.String() + "\U0010FFFF"
}
