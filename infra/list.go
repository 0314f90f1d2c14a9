package infra

import (
	"cmp"
	"context"
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
	"github.com/softbee/accounts/infra/internal/identifier"
)

// List implements [domain.UserReader].
func (r *repository) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	const op = "list users"
	query, err := query.Resolve()
	if err != nil {
		return domain.Page{}, wrap(op, err)
	}
	rows, more, err := r.reader().page(ctx, op, query, false)
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

func (l listed) id() domain.ID {
	if l.malformed != nil {
		return l.malformed.ID
	}
	return l.user.ID()
}

// scanListed returns a function that reads the rows of a page.
func scanListed(query domain.ListQuery) func(Rows) (listed, error) {
	after := query.After
	return func(rows Rows) (listed, error) {
		u, r, err := scanRow(rows)
		switch {
		case err != nil:
			return listed{}, err
		case u != nil:
			after = query.CursorAfter(u)
			return listed{user: u, at: after, placed: true}, nil
		}
		at, key, placed := r.state.CreatedAt, "", !r.unread(user.FieldCreatedAt, user.FieldID)
		switch query.Order {
		case domain.OrderEmail:
			key, placed = cmp.Or(r.keys[user.FieldEmail], r.state.Email.String()), true
		case domain.OrderUsername:
			key, placed = cmp.Or(r.keys[user.FieldUsername], r.state.Username.String()), true
		case domain.OrderLastLogin:
			at, placed = r.state.LastLogin, !r.unread(user.FieldLastLogin, user.FieldID)
		}
		if placed {
			after = query.CursorAt(at, r.state.ID, key)
		}
		return listed{malformed: r.malformed(), at: after, placed: placed}, nil
	}
}

// page returns at most query.Limit rows, and whether there are more. The accounts have no digests of one-time tokens, and hashes only if
// withHashes is true, but for [domain.NoPassword]. The first page is the one after a cursor that is before everything: all pages are
// one prepared statement.
func (r *repository) page(ctx context.Context, op string, query domain.ListQuery, withHashes bool) (rows []listed, more bool, err error) {
	selector := r.selectPage(query)
	for i := range columns {
		switch name := columns[i].name; {
		case name == user.FieldHashedPassword && !withHashes:
			selector.AppendSelectExpr(sql.Raw("CASE WHEN " + withoutPassword + " THEN hashed_password END"))
		case name == user.FieldResetToken, name == user.FieldVerificationToken, name == user.FieldPhoneCode:
			selector.AppendSelectExpr(sql.Raw("NULL"))
		default:
			selector.AppendSelect(name)
		}
	}
	// One row more tells whether there is a next page. Another one is for the last row of the page before, which SQLite finds again where its
	// time was written in another form than the store's, and so sorts behind the cursor.
	for limit := query.Limit; ; limit *= 2 {
		text, args := selector.Limit(limit + 2).Query()
		rows, err = collect(ctx, r, op, text, args, scanListed(query))
		if err != nil {
			return nil, false, err
		}
		if len(rows) > 0 && rows[0].placed && rows[0].at == query.After {
			rows = rows[1:]
		}
		if more = len(rows) > limit; !more {
			return rows, false, nil
		}
		// A page ends behind a row that has a place, where the next one begins. Malformed rows of which none has one make it longer.
		for end := limit; end > 0; end-- {
			if rows[end-1].placed {
				return rows[:end], true, nil
			}
		}
	}
}

// Count implements [domain.UserReader].
func (r *repository) Count(ctx context.Context, filter domain.Filter) (int, error) {
	selector := r.selectFiltered(filter)
	query, args := selector.Count().Query()
	counts, err := collect(ctx, r.reader(), "count users", query, args, scanned[int])
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
	return identifier.Quote(r.schema)
}

// selectPage selects the accounts that match, from the query's place on, in its order. Columns and limit are the caller's.
//
// What a search finds stands together in the index of what is searched, and is sorted: a database that reads the order's index instead, in the
// hope of a match every few rows, reads nearly all of it. So the order is worded as no index has it. The index of domains is in the order
// of creation itself.
func (r *repository) selectPage(query domain.ListQuery) *sql.Selector {
	selector := r.selectFiltered(query.Filter)
	keys, after := r.place(query)
	operator, direction := " > ", ""
	if query.Descending {
		operator, direction = " < ", " DESC"
	}
	// In the ascending order the zero cursor is before everything, so that the first page is the same prepared statement as the others.
	if !query.Descending || !query.After.IsZero() {
		where(selector, "("+strings.Join(keys, ", ")+")"+operator+"("+strings.Join([]string{"?", "?"}[:len(keys)], ", ")+")", after...)
	}
	f := query.Filter
	sorted := !f.Search.IsZero() || !f.Name.IsZero() || !f.Domain.IsZero() && query.Order != domain.OrderCreated
	for _, key := range keys {
		if sorted {
			key = "coalesce(" + key + ", " + key + ")"
		}
		selector.OrderExpr(sql.Raw(key + direction))
	}
	return selector
}

// place returns what the query's order goes by, as its index has it, and where in it the query begins.
func (r *repository) place(query domain.ListQuery) (keys []string, after []any) {
	at, id := query.After.At()
	switch query.Order {
	case domain.OrderEmail:
		return []string{user.FieldEmail}, []any{query.After.Key()}
	case domain.OrderUsername:
		return []string{user.FieldUsername}, []any{query.After.Key()}
	case domain.OrderLastLogin:
		after = r.dialect.afterLogin(at, id)
		return []string{r.dialect.lastLogin, user.FieldID}[:len(after)], after
	default:
		return []string{user.FieldCreatedAt, user.FieldID}, []any{at, id.UUID()}
	}
}

// where adds a condition in which ? stands for each argument.
func where(selector *sql.Selector, condition string, args ...any) {
	selector.Where(sql.P(func(b *sql.Builder) {
		for i, part := range strings.Split(condition, "?") {
			if i > 0 {
				b.Arg(args[i-1])
			}
			b.WriteString(part)
		}
	}))
}

// selectFiltered selects the accounts that match.
func (r *repository) selectFiltered(f domain.Filter) *sql.Selector {
	selector := sql.Dialect(r.dialect.name).Select().From(sql.Table(usersTable).Schema(r.builderSchema()))
	now := r.present()
	choose := func(chosen *bool, condition string, args ...any) {
		switch {
		case chosen == nil:
		case *chosen:
			where(selector, condition, args...)
		default:
			where(selector, "NOT ("+condition+")", args...)
		}
	}
	choose(f.Active, user.FieldIsActive)
	choose(f.Verified, user.FieldIsVerified)
	choose(f.Locked, "locked_until IS NOT NULL AND locked_until > ?", now)
	choose(f.SignedIn, "last_login IS NOT NULL")
	choose(f.WithPhone, "phone IS NOT NULL")
	choose(f.WithPassword, "NOT "+withoutPassword)
	choose(f.WithIdentity, "EXISTS (SELECT 1 FROM "+r.dialect.table(r.schema, identitiesTable)+" AS identity WHERE identity.user_id = "+selector.C(user.FieldID)+")")
	if !f.Search.IsZero() {
		first, last := prefixRange(f.Search.String())
		where(selector, "(email >= ? AND email <= ? OR username >= ? AND username <= ?)", first, last, first, last)
	}
	if !f.Name.IsZero() {
		var conditions []string
		var args []any
		for _, beginning := range f.Name.Beginnings() {
			first, last := prefixRange(beginning)
			for _, column := range []string{user.FieldFirstName, user.FieldLastName} {
				name := r.dialect.folded(column)
				conditions = append(conditions, name+" >= ? AND "+name+" <= ?")
				args = append(args, first, last)
			}
		}
		where(selector, "("+strings.Join(conditions, " OR ")+")", args...)
	}
	if !f.Domain.IsZero() {
		where(selector, r.dialect.emailDomain+" = ?", f.Domain.String())
	}
	since := func(t time.Time, condition string, args ...any) {
		if !t.IsZero() {
			where(selector, condition, args...)
		}
	}
	lastLogin := r.dialect.lastLogin // as the index of that order has it
	since(f.CreatedFrom, "created_at >= ?", domain.StoredTime(f.CreatedFrom))
	since(f.CreatedBefore, "created_at < ?", domain.StoredTime(f.CreatedBefore))
	since(f.SignedInFrom, lastLogin+" >= ?", domain.StoredTime(f.SignedInFrom))
	since(f.SignedInBefore, "("+lastLogin+" >= ? AND "+lastLogin+" < ?)", time.Time{}.Add(time.Microsecond), domain.StoredTime(f.SignedInBefore))
	unverified := domain.StoredTime(f.UnverifiedSince)
	since(f.UnverifiedSince, "(NOT is_verified AND created_at < ? AND (version = 1 OR updated_at < ?))", unverified, unverified)
	return selector
}

// prefixRange returns the first and the last text that begins with prefix. Both columns are compared byte by byte, so
// that their indexes serve the range, also in a prepared statement, where LIKE would need to see its pattern; and no
// character needs escaping. U+10FFFF, the last code point, is a noncharacter and in no text.
func prefixRange(prefix string) (first, last string) { return prefix, prefix + "\U0010FFFF" }
