package infra

import (
	"cmp"
	"context"
	"time"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/predicate"
	"github.com/softbee/accounts/ent/user"
)

// List implements [domain.UserReader].
func (r *repository) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
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
	rows, more, err := r.page(ctx, op, query, by, false)
	if err != nil {
		return domain.Page{}, err
	}
	var page domain.Page
	for _, l := range rows {
		if l.malformed != nil {
			page.Malformed = append(page.Malformed, l.malformed)
		} else {
			page.Users = append(page.Users, l.user)
		}
		page.Next = l.at
	}
	if !more {
		page.Next = domain.Cursor{}
	}
	return page, nil
}

// listed is a row of a list: an account, or what is wrong with it; and the place behind it.
type listed struct {
	user      *domain.User
	malformed *domain.Malformed
	at        domain.Cursor
	placed    bool // at is behind this row, and not behind one before it
}

// scanListed returns a function that reads the rows of a list in an order, which begins behind after.
func scanListed(order domain.Order, after domain.Cursor) func(Rows) (listed, error) {
	return func(rows Rows) (listed, error) {
		u, r, err := scanRow(rows)
		switch {
		case err != nil:
			return listed{}, err
		case u != nil:
			after = domain.CursorAfter(order, u)
			return listed{user: u, at: after, placed: true}, nil
		}
		key := cmp.Or(r.keys[string(order)], r.state.Email.String())
		if order == domain.OrderUsername {
			key = cmp.Or(r.keys[string(order)], r.state.Username.String())
		}
		placed := order != domain.OrderCreated || !r.state.CreatedAt.IsZero()
		if placed {
			after = domain.CursorAt(order, r.state.CreatedAt, r.state.ID, key)
		}
		return listed{malformed: r.malformed(), at: after, placed: placed}, nil
	}
}

// page returns at most query.Limit rows, and whether there are more. The accounts have no digests of one-time tokens, and hashes only if
// withHashes is true, but for [domain.NoPassword]. The first page is the one after a cursor that is before everything: all pages are
// one prepared statement.
func (r *repository) page(
	ctx context.Context, op string, query domain.ListQuery, by []user.OrderOption, withHashes bool,
) (rows []listed, more bool, err error) {
	where := append(filtered(query.Filter, r.present()), orders[query.Order].after(query.After))
	selector := r.selectUsers()
	for i := range columns {
		switch name := columns[i].name; {
		case name == user.FieldHashedPassword && !withHashes:
			selector.AppendSelectExpr(sql.Raw("CASE WHEN " + withoutPassword + " THEN hashed_password ELSE '' END"))
		case name == user.FieldResetToken, name == user.FieldVerificationToken:
			selector.AppendSelectExpr(sql.Raw("NULL"))
		default:
			selector.AppendSelect(name)
		}
	}
	for _, predicate := range where {
		predicate(selector)
	}
	for _, term := range by {
		term(selector)
	}
	// One row more tells whether there is a next page. Another one is for the last row of the page before, which SQLite finds again where its
	// time was written in another form than the store's, and so sorts behind the cursor.
	text, args := selector.Limit(query.Limit + 2).Query()
	rows, err = collect(ctx, r, op, text, args, scanListed(query.Order, query.After))
	if err != nil {
		return nil, false, err
	}
	if len(rows) > 0 && rows[0].placed && rows[0].at == query.After {
		rows = rows[1:]
	}
	if more = len(rows) > query.Limit; more {
		rows = rows[:query.Limit]
		if rows[query.Limit-1].at == query.After {
			return nil, false, wrap(op, rows[0].malformed) // none of them has a place behind which to go on
		}
	}
	return rows, more, nil
}

// Count implements [domain.UserReader].
func (r *repository) Count(ctx context.Context, filter domain.Filter) (int, error) {
	selector := r.selectUsers()
	for _, predicate := range filtered(filter, r.present()) {
		predicate(selector)
	}
	query, args := selector.Count().Query()
	counts, err := collect(ctx, r, "count users", query, args, scanned[int])
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// builderSchema is the schema as ent's builder takes it, which quotes a name unless that is quoted already, but does not escape it.
func (r *repository) builderSchema() string {
	if r.schema == "" {
		return ""
	}
	return quoted(r.schema)
}

func (r *repository) selectUsers() *sql.Selector {
	return sql.Dialect(r.dialect.name).Select().From(sql.Table(usersTable).Schema(r.builderSchema()))
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

func filtered(filter domain.Filter, now time.Time) []predicate.User {
	var where []predicate.User
	if filter.Active != nil {
		where = append(where, user.IsActive(*filter.Active))
	}
	if filter.Verified != nil {
		where = append(where, user.IsVerified(*filter.Verified))
	}
	choose := func(chosen *bool, yes, no predicate.User) {
		switch {
		case chosen == nil:
		case *chosen:
			where = append(where, yes)
		default:
			where = append(where, no)
		}
	}
	choose(filter.Locked, user.LockedUntilGT(now), user.Or(user.LockedUntilIsNil(), user.LockedUntilLTE(now)))
	choose(filter.SignedIn, user.LastLoginNotNil(), user.LastLoginIsNil())
	choose(filter.WithPhone, user.PhoneNotNil(), user.PhoneIsNil())
	choose(filter.WithPassword,
		func(s *sql.Selector) { s.Where(sql.Not(sql.ExprP(withoutPassword))) },
		func(s *sql.Selector) { s.Where(sql.ExprP(withoutPassword)) })
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
