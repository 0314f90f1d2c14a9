package domaintest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// population stores accounts of all sorts, five at a time made at one instant, and returns their states.
func (r *contractTest) population(n int) map[domain.ID]domain.UserState {
	r.Helper()
	beginnings := []string{"Zoe", "abel", "Éva", "ﾎﾘ", "𐐨va", "龜va", "a-b", "a.b", "a_b"}
	all := make(map[domain.ID]domain.UserState)
	for i := range n {
		name := fmt.Sprintf("%s%d", beginnings[i%len(beginnings)], i)
		s := r.newAccount(name)
		s.Email = r.email(fmt.Sprintf("%d%s@example.org", i*7%n, name))
		s.Active, s.Verified = i%3 != 0, i%4 == 0
		s.CreatedAt = s.CreatedAt.Add(time.Duration(i/5*5) * time.Microsecond)
		if s.Version = int64(1 + i%2); i%4 == 3 {
			s.UpdatedAt = s.CreatedAt.Add(20 * time.Microsecond)
		}
		if i%6 == 1 {
			s.FirstName, s.LastName = "Ánibal", "Roa"
			s.Email = r.email(fmt.Sprintf("%d@other.example", i))
		}
		if i%2 == 0 {
			s.LastLogin, s.Phone = s.CreatedAt.Add(time.Duration(7*i%10)*time.Microsecond), must(domain.ParsePhone(fmt.Sprintf("+573001%06d", i)))(r)
		}
		if i%3 == 0 {
			s.LockedUntil = storedTime(r.clock.Now()).Add(time.Duration(i%2) * time.Hour) // one at the present has ended
		}
		if i%5 == 0 {
			s.PasswordHash = domain.NoPassword()
		}
		all[s.ID] = r.create(s)
	}
	return all
}

// pages reads a list to its end, calling between after each page, and returns the accounts in the order of the pages.
func (r *contractTest) pages(query domain.ListQuery, between func()) (users []*domain.User) {
	r.Helper()
	for {
		page := must(r.List(r.Context(), query))(r)
		limit := cmp.Or(query.Limit, domain.DefaultPageSize)
		if n := len(page.Users); n > limit || n < limit && !page.Next.IsZero() {
			r.Fatalf("a page of %d at limit %d, the next at %q", n, limit, page.Next)
		}
		users = append(users, page.Users...)
		if page.Next.IsZero() {
			return users
		}
		query.After = must(domain.ParseCursor(page.Next.String()))(r) // as it comes back from a client
		between()
	}
}

// inOrder demands that users are these, in this order.
func (r *contractTest) inOrder(what string, users []*domain.User, want []domain.UserState) {
	r.Helper()
	var got, wanted []string
	for _, u := range users {
		got = append(got, u.Username().String())
	}
	for _, s := range want {
		wanted = append(wanted, s.Username.String())
	}
	if !slices.Equal(got, wanted) {
		r.Errorf("%s: %q, want %q", what, got, wanted)
	}
}

// sorted returns the states that match, in the order of a query.
func sorted(all map[domain.ID]domain.UserState, query domain.ListQuery, match func(domain.UserState) bool) []domain.UserState {
	states := slices.DeleteFunc(slices.Collect(maps.Values(all)), func(s domain.UserState) bool { return !match(s) })
	slices.SortFunc(states, compare(query.Order, query.Descending))
	return states
}

func everyone(domain.UserState) bool { return true }

// orders are all orders, in both directions.
var orders = func() (all []domain.ListQuery) {
	for _, order := range domain.Orders {
		all = append(all, domain.ListQuery{Order: order}, domain.ListQuery{Order: order, Descending: true})
	}
	return all
}()

// titled names an order in messages.
func titled(query domain.ListQuery) string {
	if query.Descending {
		return string(query.Order) + " descending"
	}
	return string(query.Order)
}

var listing = []behaviour{
	{"is empty where there is nothing", func(r *contractTest) {
		for _, query := range append(orders, domain.ListQuery{}) {
			if page := must(r.List(r.Context(), query))(r); len(page.Users) != 0 || !page.Next.IsZero() {
				r.Errorf("%s: %+v", titled(query), page)
			}
		}
		if n := must(r.Count(r.Context(), domain.Filter{}))(r); n != 0 {
			r.Errorf("%d accounts", n)
		}
	}},
	{"gives each order by any size of page, ties in time by ID, texts by their bytes", func(r *contractTest) {
		all := r.population(23)
		for _, query := range orders {
			for _, query.Limit = range []int{0, 1, 2, 7, 22, 23, 24, domain.MaxPageSize} {
				users := r.pages(query, func() {})
				r.inOrder(fmt.Sprintf("%s by %d", titled(query), query.Limit), users, sorted(all, query, everyone))
			}
		}
	}},
	{"has those that never signed in before all others in the order of sign-ins, and behind them in the other direction", func(r *contractTest) {
		all := r.population(12)
		never := func(s domain.UserState) bool { return s.LastLogin.IsZero() }
		for _, limit := range []int{1, 5, 6, 7, 50} {
			for _, descending := range []bool{false, true} {
				query := domain.ListQuery{Order: domain.OrderLastLogin, Descending: descending, Limit: limit}
				users := r.pages(query, func() {})
				first, last := sorted(all, query, never), sorted(all, query, func(s domain.UserState) bool { return !never(s) })
				if descending {
					first, last = last, first
				}
				r.inOrder(fmt.Sprintf("%s by %d", titled(query), limit), users, append(first, last...))
			}
		}
	}},
	{"has 50 on a page unless a limit is given", func(r *contractTest) {
		all := r.population(53)
		page := must(r.List(r.Context(), domain.ListQuery{}))(r)
		if len(page.Users) != 50 || page.Next.IsZero() {
			r.Errorf("%d on the first page, the next at %q", len(page.Users), page.Next)
		}
		r.inOrder("all", r.pages(domain.ListQuery{}, func() {}), sorted(all, domain.ListQuery{}, everyone))
	}},
	{"refuses a limit, an order or a cursor that is out of bounds", func(r *contractTest) {
		r.population(3)
		next := must(r.List(r.Context(), domain.ListQuery{Limit: 1}))(r).Next
		for _, test := range []struct {
			field string
			query domain.ListQuery
		}{
			{"limit", domain.ListQuery{Limit: -1}},
			{"limit", domain.ListQuery{Limit: domain.MaxPageSize + 1}},
			{"order", domain.ListQuery{Order: "hashed_password"}},
			{"after", domain.ListQuery{Order: domain.OrderEmail, After: next}},
			{"after", domain.ListQuery{Order: domain.OrderUsername, After: next}},
			{"after", domain.ListQuery{Order: domain.OrderLastLogin, After: next}},
			{"after", domain.ListQuery{Descending: true, After: next}},
		} {
			page, err := r.List(r.Context(), test.query)
			r.refused(fmt.Sprintf("%+v", test.query), err, domain.ErrInvalid, test.field)
			if len(page.Users) != 0 || !page.Next.IsZero() {
				r.Errorf("%+v: an error and a page", test.query)
			}
		}
	}},
	{"returns everything but the password hash and the digests of one-time tokens", func(r *contractTest) {
		s, _ := r.full("ana")
		r.create(s)
		s.PasswordHash, s.ResetToken, s.VerificationToken, s.PhoneCode = domain.PasswordHash{}, domain.TokenDigest{}, domain.TokenDigest{}, domain.TokenDigest{}
		for _, query := range orders {
			users := r.pages(query, func() {})
			if len(users) != 1 {
				r.Fatalf("%d accounts", len(users))
			}
			r.equal(titled(query), users[0].State(), s)
		}
	}},
	{"filters, and counts what it filters", func(r *contractTest) {
		all := r.population(40)
		linked := make(map[domain.ID]bool)
		for id, s := range all {
			if s.Verified || s.Phone.IsZero() {
				must(r.LinkIdentity(r.Context(), id, r.identity(id.String())))(r)
				linked[id] = true
			}
		}
		yes, no := true, false
		from := storedTime(r.clock.Now()).Add(10 * time.Microsecond)
		before := from.Add(15 * time.Microsecond)
		for name, test := range map[string]struct {
			filter domain.Filter
			match  func(domain.UserState) bool
		}{
			"active":          {domain.Filter{Active: &yes}, func(s domain.UserState) bool { return s.Active }},
			"inactive":        {domain.Filter{Active: &no}, func(s domain.UserState) bool { return !s.Active }},
			"verified":        {domain.Filter{Verified: &yes}, func(s domain.UserState) bool { return s.Verified }},
			"unverified":      {domain.Filter{Verified: &no}, func(s domain.UserState) bool { return !s.Verified }},
			"locked":          {domain.Filter{Locked: &yes}, func(s domain.UserState) bool { return s.LockedUntil.After(r.clock.Now()) }},
			"not locked":      {domain.Filter{Locked: &no}, func(s domain.UserState) bool { return !s.LockedUntil.After(r.clock.Now()) }},
			"signed in":       {domain.Filter{SignedIn: &yes}, func(s domain.UserState) bool { return !s.LastLogin.IsZero() }},
			"never signed in": {domain.Filter{SignedIn: &no}, func(s domain.UserState) bool { return s.LastLogin.IsZero() }},
			"with phone":      {domain.Filter{WithPhone: &yes}, func(s domain.UserState) bool { return !s.Phone.IsZero() }},
			"without phone":   {domain.Filter{WithPhone: &no}, func(s domain.UserState) bool { return s.Phone.IsZero() }},
			"with password":   {domain.Filter{WithPassword: &yes}, func(s domain.UserState) bool { return s.PasswordHash != domain.NoPassword() }},
			"no password":     {domain.Filter{WithPassword: &no}, func(s domain.UserState) bool { return s.PasswordHash == domain.NoPassword() }},
			"from, inclusive": {domain.Filter{CreatedFrom: from}, func(s domain.UserState) bool { return !s.CreatedAt.Before(from) }},
			"before, not at":  {domain.Filter{CreatedBefore: before}, func(s domain.UserState) bool { return s.CreatedAt.Before(before) }},
			"in another zone": {domain.Filter{CreatedFrom: from.In(time.FixedZone("", 19800))}, func(s domain.UserState) bool { return !s.CreatedAt.Before(from) }},
			"never":           {domain.Filter{CreatedFrom: before, CreatedBefore: from}, func(domain.UserState) bool { return false }},
			"with identity":   {domain.Filter{WithIdentity: &yes}, func(s domain.UserState) bool { return linked[s.ID] }},
			"no identity":     {domain.Filter{WithIdentity: &no}, func(s domain.UserState) bool { return !linked[s.ID] }},
			"signed in from":  {domain.Filter{SignedInFrom: from}, func(s domain.UserState) bool { return !s.LastLogin.IsZero() && !s.LastLogin.Before(from) }},
			"last seen":       {domain.Filter{SignedInBefore: from}, func(s domain.UserState) bool { return !s.LastLogin.IsZero() && s.LastLogin.Before(from) }},
			"unverified since": {domain.Filter{UnverifiedSince: from}, func(s domain.UserState) bool {
				return !s.Verified && s.CreatedAt.Before(from) && (s.Version == 1 || s.UpdatedAt.Before(from))
			}},
			"named":     {domain.Filter{Name: r.namePrefix("áN")}, func(s domain.UserState) bool { return s.FirstName == "Ánibal" }},
			"at domain": {domain.Filter{Domain: r.mailDomain("@Other.example")}, func(s domain.UserState) bool { return strings.HasSuffix(s.Email.String(), "@other.example") }},
			"searched":  {domain.Filter{Search: r.prefix("A_B")}, func(s domain.UserState) bool { return strings.HasPrefix(s.Username.String(), "a_b") }},
			"all of it": {
				domain.Filter{Active: &yes, Verified: &no, CreatedFrom: from, CreatedBefore: before.Add(time.Hour), Search: r.prefix("a")},
				func(s domain.UserState) bool {
					return s.Active && !s.Verified && !s.CreatedAt.Before(from) && strings.HasPrefix(s.Username.String(), "a")
				},
			},
		} {
			for _, query := range orders {
				query.Filter, query.Limit = test.filter, 7
				r.inOrder(name+" by "+titled(query), r.pages(query, func() {}), sorted(all, query, test.match))
			}
			if n, want := must(r.Count(r.Context(), test.filter))(r), len(sorted(all, domain.ListQuery{}, test.match)); n != want || want == 0 && name != "never" {
				r.Errorf("%s: count %d, want %d", name, n, want)
			}
		}
	}},
	{"searches for the beginning of an address or a name, every character of it literally", func(r *contractTest) {
		addresses := []string{
			"100%sure", "100xsure", "a_b", "axb", "a%", "jörg", "jorg", "ｆｕｌｌ", "a'b", "a*b", "a?b", "ab", "abc", "abd", "ab𐐨", "ab龜", "😀face",
		}
		names := []string{`a\b`, `a\\b`, "a_c", "axc", "ΩmegaΣ", `a"b`, "a[b", "ab1", "a%b", "abcd", "q2u"}
		for i, address := range addresses {
			s := r.newAccount(fmt.Sprintf("u%d-name", i))
			s.Email = r.email(address + "@example.org")
			if i < len(names) {
				s.Username = r.username(names[i])
			}
			r.create(s)
		}
		all := r.accounts()
		for _, text := range []string{
			"100%", "100%s", "100_", "%", "_", "a_", "a_b", "a%", `a\`, `a\\`, `a\b`, `\`, "jö", "JÖRG", "jo\u0308", "jo", "ωμ", "ω", "ΩMEGAσ", "full", "ＦＵ", "😀",
			"a'", `a"`, "a*", "a?", "a[", "ab", "a", "abc@", "ab@", "ab𐐨", "u1", "q", "example", "org", "@", "\U0010fffd", "ab\U0010fffd", "; DROP TABLE users", "' OR '1'='1",
		} {
			prefix := r.prefix(text)
			match := func(s domain.UserState) bool {
				return strings.HasPrefix(s.Email.String(), prefix.String()) || strings.HasPrefix(s.Username.String(), prefix.String())
			}
			want := sorted(all, domain.ListQuery{Order: domain.OrderEmail}, match)
			r.inOrder(text, r.pages(domain.ListQuery{Filter: domain.Filter{Search: prefix}, Order: domain.OrderEmail, Limit: 4}, func() {}), want)
			if n := must(r.Count(r.Context(), domain.Filter{Search: prefix}))(r); n != len(want) {
				r.Errorf("%q: count %d, want %d", text, n, len(want))
			}
		}
	}},
	{"searches for the beginning of a name, in the spellings of people", func(r *contractTest) {
		names := []domain.Names{
			{First: "Ana", Last: "Roa"}, {First: "ANA MARÍA"}, {Last: "anaya"}, {First: "Ána"}, {First: "ána"}, {First: "Éva", Last: "Ángel"}, {First: "Ольга"}, {Last: "ОЛЬГА"},
			{First: "a%b"}, {First: "a_b"}, {First: "axb"}, {First: `a\b`}, {First: "İpek"}, {}, {First: "ﬁn"}, {First: "😀", Last: "a😀"},
		}
		for i, n := range names {
			s := r.newAccount(fmt.Sprintf("name-%d", i))
			s.FirstName, s.LastName = n.First, n.Last
			r.create(s)
		}
		all := r.accounts()
		for _, text := range []string{"ana", "ANA", "an", "ana m", "á", "Á", "éva", "a\u0301n", "оль", "ОЛЬ", "a%", "a_", `a\`, "a", "roa", "i", "İ", "ﬁ", "😀", "ro%", "zz"} {
			prefix := r.namePrefix(text)
			match := func(s domain.UserState) bool {
				return prefix.Matches(domain.Names{First: s.FirstName, Last: s.LastName})
			}
			for _, query := range orders {
				query.Filter.Name, query.Limit = prefix, 2
				r.inOrder(text+" by "+titled(query), r.pages(query, func() {}), sorted(all, query, match))
			}
		}
	}},
	{"searches for the domain of an address, and for no other that ends or begins like it", func(r *contractTest) {
		for i, host := range []string{"example.org", "example.org", "sub.example.org", "example.organic", "xexample.org", "Müller.example", "example.org"} {
			s := r.newAccount(fmt.Sprintf("name-%d", i))
			s.Email = r.email(fmt.Sprintf("n%d@%s", i, host))
			r.create(s)
		}
		all := r.accounts()
		for text, want := range map[string]int{"example.org": 3, "EXAMPLE.org": 3, "sub.example.org": 1, "müller.example": 1, "org": 0, "n1": 0} {
			for _, query := range orders {
				query.Filter.Domain, query.Limit = r.mailDomain(text), 2
				states := sorted(all, query, func(s domain.UserState) bool {
					return strings.HasSuffix(s.Email.String(), "@"+query.Filter.Domain.String())
				})
				if len(states) != want {
					r.Errorf("%s: %d accounts, want %d", text, len(states), want)
				}
				r.inOrder(text+" by "+titled(query), r.pages(query, func() {}), states)
			}
		}
	}},
	{"neither repeats nor skips an account while others come and go", func(r *contractTest) {
		random := rand.New(rand.NewPCG(seed(r), 0))
		lasting := r.population(20)
		for _, query := range orders {
			query.Limit = 3
			order := strings.ReplaceAll(titled(query), " ", "-")
			var passing []domain.ID
			n := 0
			users := r.pages(query, func() {
				for range 2 {
					s := r.newAccount(fmt.Sprintf("%c-%s-%d", 'a'+random.IntN(26), order, n))
					if random.IntN(2) == 0 {
						s.LastLogin = s.CreatedAt.Add(time.Duration(random.IntN(40)) * time.Microsecond)
					}
					s.CreatedAt = s.CreatedAt.Add(time.Duration(random.IntN(40)) * time.Microsecond)
					passing = append(passing, r.create(s).ID)
					n++
				}
				gone := random.IntN(len(passing))
				if err := r.Delete(r.Context(), passing[gone]); err != nil {
					r.Fatal(err)
				}
				passing = slices.Delete(passing, gone, gone+1)
			})
			seen := make(map[domain.ID]int)
			users = slices.DeleteFunc(users, func(u *domain.User) bool {
				seen[u.ID()]++
				_, lasts := lasting[u.ID()]
				return !lasts
			})
			for id, times := range seen {
				if times > 1 {
					r.Errorf("%s: account %s came %d times", order, id, times)
				}
			}
			r.inOrder(order, users, sorted(lasting, query, everyone))
			for _, id := range passing {
				if err := r.Delete(r.Context(), id); err != nil {
					r.Fatal(err)
				}
			}
		}
	}},
	{"goes on behind an account that was deleted or changed", func(r *contractTest) {
		all := r.population(14)
		for _, query := range orders {
			query.Limit = 3
			want := sorted(all, query, everyone)
			page := must(r.List(r.Context(), query))(r)
			last := page.Users[2].ID()
			if err := r.Delete(r.Context(), last); err != nil {
				r.Fatal(err)
			}
			delete(all, last)
			query.After = page.Next
			r.inOrder(titled(query), r.pages(query, func() {}), want[3:])
		}
	}},
	{"gives the last page no successor", func(r *contractTest) {
		r.population(6)
		for _, limit := range []int{2, 3, 6} {
			query := domain.ListQuery{Limit: limit}
			for range 6/limit - 1 {
				query.After = must(r.List(r.Context(), query))(r).Next
			}
			if page := must(r.List(r.Context(), query))(r); len(page.Users) != limit || !page.Next.IsZero() {
				r.Errorf("the last page by %d has %d and a successor at %q", limit, len(page.Users), page.Next)
			}
		}
	}},
}
