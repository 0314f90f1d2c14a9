package domaintest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/softbee/accounts/domain"
)

func TestModel(t *testing.T) {
	Run(t, func(_ *testing.T, clock func() time.Time) domain.Repository { return newModel(clock) })
}

// The suite fails on each of these repositories, by the behaviour that is broken in it.
var broken = map[string]struct {
	repository func(*model) domain.Repository
	noticedBy  string
}{
	"takes an address twice":                 {func(m *model) domain.Repository { return takesTwice{m} }, "Writing/Create refuses a taken address, name or number, and names it"},
	"takes an address twice at once":         {func(m *model) domain.Repository { return looksThenTakes{m} }, "Writing/Create of one address by 32 at once succeeds once"},
	"lets the driver's error out":            {func(m *model) domain.Repository { return driverError{m} }, "Predecessor/a duplicate address gives a typed error, in which nothing is of the driver or of the row"},
	"stores no hash":                         {func(m *model) domain.Repository { return takesAny{m} }, "Writing/Create refuses an account without a password hash"},
	"stores capitals":                        {func(m *model) domain.Repository { return takesAny{m} }, "Predecessor/no account is stored under capitals, where its canonical address would not find it"},
	"drops the zone of a time":               {func(m *model) domain.Repository { return dropsZone{m} }, "Predecessor/a time keeps its instant, whatever its zone"},
	"returns local times":                    {func(m *model) domain.Repository { return localTimes{m} }, "Reading/finds what Create stored, nothing of it absent"},
	"returns milliseconds":                   {func(m *model) domain.Repository { return milliseconds{m} }, "Reading/finds what Create stored, nothing of it absent"},
	"shares its accounts":                    {func(m *model) domain.Repository { return shares{m, map[domain.ID]*domain.User{}} }, "Every method/gives its caller an account that shares nothing with the stored one"},
	"does not look at the context":           {func(m *model) domain.Repository { return deaf{m} }, "Every method/returns the error of a context that has ended, and changes nothing"},
	"does half when its context ends":        {func(m *model) domain.Repository { return halves{m} }, "Every method/is atomic when its context ends meanwhile"},
	"changes what is not there":              {func(m *model) domain.Repository { return deletesNothing{m} }, "Every method/that takes an ID returns not_found where there is no such account"},
	"does not raise the version":             {func(m *model) domain.Repository { return keepsVersion{m} }, "Every method/changes what it says and nothing else, and returns it"},
	"changes more than it says":              {func(m *model) domain.Repository { return changesMore{m} }, "Every method/changes what it says and nothing else, and returns it"},
	"loses updates":                          {func(m *model) domain.Repository { return lastWins{m} }, "Writing/Update by 32 at once on one account loses none"},
	"erases what was stored meanwhile":       {func(m *model) domain.Repository { return lastWins{m} }, "Predecessor/saving an account that was read earlier erases no token stored meanwhile"},
	"brings deleted accounts back":           {func(m *model) domain.Repository { return lastWins{m} }, "Writing/Update of an account that is deleted meanwhile does not bring it back"},
	"stores what the closure refused":        {func(m *model) domain.Repository { return storesRefused{m} }, "Writing/Update returns the closure's error and stores nothing"},
	"keeps a confirmation":                   {func(m *model) domain.Repository { return keepsVerified{m} }, "Writing/SetEmail to another address takes back the confirmation and the pending tokens"},
	"keeps sessions of the inactive":         {func(m *model) domain.Repository { return keepsSessions{m} }, "Writing/Deactivate ends all sessions, for good"},
	"reads % as a wildcard":                  {func(m *model) domain.Repository { return wildcards{m} }, "Listing/searches for the beginning of an address or a name, every character of it literally"},
	"skips ties":                             {func(m *model) domain.Repository { return skipsTies{m} }, "Listing/gives each order by any size of page, ties in time by ID, texts by their bytes"},
	"reads by offset":                        {func(m *model) domain.Repository { return offsets{m, map[domain.Cursor]int{}} }, "Listing/neither repeats nor skips an account while others come and go"},
	"forgets the direction":                  {func(m *model) domain.Repository { return ascends{m} }, "Listing/gives each order by any size of page, ties in time by ID, texts by their bytes"},
	"puts who never signed in at the end":    {func(m *model) domain.Repository { return neverLast{m} }, "Listing/has those that never signed in before all others in the order of sign-ins, and behind them in the other direction"},
	"finds many in any order":                {func(m *model) domain.Repository { return anyOrder{m} }, "Reading/finds many at once, each at the place of its key, and nothing at the place of an absent one"},
	"purges what was verified meanwhile":     {func(m *model) domain.Repository { return looksThenPurges{m} }, "Many/Purge by 4 at once deletes each account once, and none that is verified meanwhile"},
	"purges whose address was replaced":      {func(m *model) domain.Repository { return purgesByCreation{m} }, "Many/Purge of what has long been unverified spares an account whose address was replaced, until that is as long ago"},
	"deactivates many in part":               {func(m *model) domain.Repository { return keepsManySessions{m} }, "Many/ActivateMany, DeactivateMany and RevokeMany do to each what their likes do to one, and tell which they changed"},
	"lists hashes":                           {func(m *model) domain.Repository { return listsHashes{m} }, "Listing/returns everything but the password hash and the digests of one-time tokens"},
	"loses failures":                         {func(m *model) domain.Repository { return countsFromBefore{m} }, "Credentials/RecordFailure by 64 at once, five times each, is exact up to the lock"},
	"counts on after a lock":                 {func(m *model) domain.Repository { return countsFromBefore{m} }, "Credentials/RecordFailure counts from one once the lock has ended, and can lock again"},
	"puts back an old hash":                  {func(m *model) domain.Repository { return looksThenRecords{m} }, "Credentials/RecordSuccess never puts back a hash that was replaced meanwhile"},
	"keeps all sessions at a new password":   {func(m *model) domain.Repository { return keepsAll{m} }, "Credentials/SetPassword ends all sessions but one, drops the pending tokens and clears the lock"},
	"consumes a token many times":            {func(m *model) domain.Repository { return looksThenConsumes{m} }, "Credentials/ConsumeReset by 64 at once succeeds once, with the winner's password"},
	"takes expired tokens":                   {func(m *model) domain.Repository { return takesExpired{m} }, "Credentials/a one-time token is good once, until it expires"},
	"mails one address, confirms another":    {func(m *model) domain.Repository { return mailsElsewhere{m} }, "Addresses/a token says which address it belongs to, and never confirms, or resets for, another, in races of issue, change and confirmation"},
	"confirms any number":                    {func(m *model) domain.Repository { return confirmsAnyNumber{m} }, "Phones/another number takes back confirmation and code, the same one does not"},
	"counts guesses one by one":              {func(m *model) domain.Repository { return looksThenGuesses{m} }, "Phones/a code allows five attempts, however many come at once, and another code five more"},
	"keeps what was issued meanwhile":        {func(m *model) domain.Repository { return keepsIssued{m} }, "Phones/Update drops what was issued meanwhile for what it replaces"},
	"keeps tokens of the inactive":           {func(m *model) domain.Repository { return keepsPending{m} }, "Addresses/Deactivate drops all that is pending, and nothing is issued to an inactive account"},
	"cannot count on at the end":             {func(m *model) domain.Repository { return wrapsAround{m} }, "Credentials/RecordFailure counts no further than the counter goes, and locks there"},
	"removes the last way in":                {func(m *model) domain.Repository { return looksThenUnlinks{m} }, "Identities/of several ways in that are removed at once one stays"},
	"links an identity twice":                {func(m *model) domain.Repository { return relinks{m} }, "Identities/of 64 links of one identity at once one succeeds"},
	"rotates a token twice":                  {func(m *model) domain.Repository { return looksThenRotates{m} }, "Sessions/RotateToken by 4 at once without grace has one winner, and ends the session, in each of 40 rounds"},
	"leaves a stolen session":                {func(m *model) domain.Repository { return leavesStolen{m} }, "Sessions/RotateToken of a token that was rotated before grace ends that session alone"},
	"ends all sessions at a theft":           {func(m *model) domain.Repository { return endsAll{m} }, "Sessions/RotateToken of a token that was rotated before grace ends that session alone"},
	"keeps the oldest sessions":              {func(m *model) domain.Repository { return keepsOldest{m} }, "Sessions/IssueToken at the cap ends the oldest session"},
	"forks a session":                        {func(m *model) domain.Repository { return forks{m} }, "Sessions/owner and thief cannot go on side by side"},
	"raises the version by a rotation":       {func(m *model) domain.Repository { return raisesVersion{m} }, "Writing/an edit of the version that was read before 100 sign-ins, failures and rotations succeeds"},
	"tells rotated tokens as live":           {func(m *model) domain.Repository { return hasRotated{m} }, "Sessions/RotateToken of a rotated token within grace gives the live one, and writes nothing"},
	"counts expired sessions":                {func(m *model) domain.Repository { return countsExpired{m} }, "Sessions/CountSessions counts live sessions"},
	"sweeps without bounds":                  {func(m *model) domain.Repository { return sweepsAll{m} }, "Sessions/SweepSessions removes what has expired, in bounded steps, and writes nothing else"},
	"counts expired, found by chance":        {func(m *model) domain.Repository { return countsExpired{m} }, "Random operations/of one account with many sessions"},
	"keeps a confirmation, found by chance":  {func(m *model) domain.Repository { return keepsVerified{m} }, "Random operations/of few accounts with many collisions"},
	"keeps oldest sessions, found by chance": {func(m *model) domain.Repository { return keepsOldest{m} }, "Random operations/of one account with many sessions"},
}

const brokenVariable = "DOMAINTEST_BROKEN"

func TestSuiteNoticesBrokenRepositories(t *testing.T) {
	if name := os.Getenv(brokenVariable); name != "" {
		Run(t, func(_ *testing.T, clock func() time.Time) domain.Repository {
			return broken[name].repository(newModel(clock))
		})
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := t.Name()[:strings.Index(t.Name(), "/")+1] + strings.ReplaceAll(b.noticedBy, " ", "_")
			var patterns []string
			for element := range strings.SplitSeq(path, "/") {
				patterns = append(patterns, "^"+regexp.QuoteMeta(element)+"$")
			}
			inner := exec.Command(program, "-test.run="+strings.Join(patterns, "/"), "-test.count=1")
			inner.Env = append(os.Environ(), brokenVariable+"="+name, seedVariable+"=2")
			output, err := inner.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(output), "--- FAIL: "+path) || strings.Contains(string(output), "panic:") {
				t.Errorf("%v, and the suite said:\n%s", err, output)
			}
		})
	}
}

// store keeps a state without any rule.
func (m *model) store(s domain.UserState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[s.ID] = s
}

// load returns a state without any rule, and lets others go first.
func (m *model) load(id domain.ID) domain.UserState {
	m.mu.Lock()
	s := m.users[id]
	m.mu.Unlock()
	time.Sleep(time.Millisecond)
	return s
}

type takesTwice struct{ *model }

func (b takesTwice) Create(_ context.Context, u *domain.User) error { b.store(u.State()); return nil }

type looksThenTakes struct{ *model }

func (b looksThenTakes) Create(ctx context.Context, u *domain.User) error {
	if exists, err := b.ExistsByEmail(ctx, u.Email()); err != nil || exists {
		return errors.Join(err, refuse(domain.ErrTaken, "email"))
	}
	b.load(u.ID())
	b.store(u.State())
	return nil
}

type driverError struct{ *model }

func (b driverError) Create(ctx context.Context, u *domain.User) error {
	if err := b.model.Create(ctx, u); err != nil {
		return fmt.Errorf("pq: duplicate key value (%s): %w", u.Email(), err)
	}
	return nil
}

type takesAny struct{ *model }

func (b takesAny) Create(ctx context.Context, u *domain.User) error {
	if err := b.model.Create(ctx, u); !errors.Is(err, domain.ErrInvalid) {
		return err
	}
	b.store(u.State())
	return nil
}

type dropsZone struct{ *model }

func (b dropsZone) IssueReset(ctx context.Context, id domain.ID, d domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	naive := time.Date(expiry.Year(), expiry.Month(), expiry.Day(), expiry.Hour(), expiry.Minute(), expiry.Second(), expiry.Nanosecond(), time.UTC)
	return b.model.IssueReset(ctx, id, d, naive)
}

// altered returns an account with another state.
func altered(u *domain.User, err error, alter func(*domain.UserState)) (*domain.User, error) {
	if err != nil {
		return nil, err
	}
	s := u.State()
	alter(&s)
	return domain.RestoreUser(s)
}

type localTimes struct{ *model }

func (b localTimes) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	u, err := b.model.FindByID(ctx, id)
	return altered(u, err, func(s *domain.UserState) { s.LockedUntil = s.LockedUntil.In(time.FixedZone("", 3600)) })
}

type milliseconds struct{ *model }

func (b milliseconds) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	u, err := b.model.FindByID(ctx, id)
	return altered(u, err, func(s *domain.UserState) { s.LastLogin = s.LastLogin.Truncate(time.Millisecond) })
}

type shares struct {
	*model
	found map[domain.ID]*domain.User
}

func (b shares) FindByID(ctx context.Context, id domain.ID) (*domain.User, error) {
	if b.found[id] == nil {
		u, err := b.model.FindByID(ctx, id)
		if err != nil {
			return nil, err
		}
		b.found[id] = u
	}
	return b.found[id], nil
}

type deaf struct{ *model }

func (b deaf) Delete(_ context.Context, id domain.ID) error {
	return b.model.Delete(context.Background(), id)
}

type halves struct{ *model }

func (b halves) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	for _, s := range b.users {
		if s.ResetToken == digest {
			s.PasswordHash = hash
			b.store(s)
		}
	}
	time.Sleep(100 * time.Microsecond)
	return b.model.ConsumeReset(ctx, digest, hash)
}

type deletesNothing struct{ *model }

func (b deletesNothing) Delete(ctx context.Context, id domain.ID) error {
	if err := b.model.Delete(ctx, id); !errors.Is(err, domain.ErrNotFound) {
		return err
	}
	return nil
}

type keepsVersion struct{ *model }

func (b keepsVersion) SetNames(ctx context.Context, id domain.ID, names domain.Names) (*domain.User, error) {
	u, err := b.model.SetNames(ctx, id, names)
	u, err = altered(u, err, func(s *domain.UserState) { s.Version-- })
	if err == nil {
		b.store(u.State())
	}
	return u, err
}

type changesMore struct{ *model }

func (b changesMore) Unlock(ctx context.Context, id domain.ID) (*domain.User, error) {
	u, err := b.model.Unlock(ctx, id)
	u, err = altered(u, err, func(s *domain.UserState) { s.LastLogin = time.Time{} })
	if err == nil {
		b.store(u.State())
	}
	return u, err
}

type lastWins struct{ *model }

func (b lastWins) Update(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	u, err := b.FindByID(ctx, id)
	if err != nil {
		return nil, err
	}
	b.load(id)
	if err := change(u); err != nil {
		return nil, err
	}
	u, err = altered(u, nil, func(s *domain.UserState) { s.Version++ })
	b.store(u.State())
	return u, err
}

type storesRefused struct{ *model }

func (b storesRefused) Update(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	var refusal error
	u, err := b.model.Update(ctx, id, func(u *domain.User) error { refusal = change(u); return nil })
	if refusal != nil {
		return nil, refusal
	}
	return u, err
}

type keepsVerified struct{ *model }

func (b keepsVerified) SetEmail(ctx context.Context, id domain.ID, email domain.Email) (*domain.User, error) {
	before := b.load(id)
	u, err := b.model.SetEmail(ctx, id, email)
	u, err = altered(u, err, func(s *domain.UserState) { s.Verified = before.Verified })
	if err == nil {
		b.store(u.State())
	}
	return u, err
}

type keepsSessions struct{ *model }

func (b keepsSessions) Deactivate(ctx context.Context, id domain.ID) (*domain.User, error) {
	return b.change(ctx, id, func(s *domain.UserState, _ time.Time) error { s.Active = false; return nil })
}

type wildcards struct{ *model }

func (b wildcards) Count(ctx context.Context, filter domain.Filter) (int, error) {
	if strings.Contains(filter.Search.String(), "%") {
		filter.Search = domain.Prefix{}
	}
	return b.model.Count(ctx, filter)
}

type skipsTies struct{ *model }

func (b skipsTies) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	if at, _ := query.After.At(); !at.IsZero() && query.Order == domain.OrderCreated && !query.Descending {
		query.Filter.CreatedFrom, query.After = at.Add(time.Microsecond), domain.Cursor{}
	}
	return b.model.List(ctx, query)
}

type offsets struct {
	*model
	read map[domain.Cursor]int
}

func (b offsets) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	all := query
	all.Limit, all.After = domain.MaxPageSize, domain.Cursor{}
	page, err := b.model.List(ctx, all)
	if err != nil || query.Limit == domain.MaxPageSize {
		return page, err
	}
	at := min(b.read[query.After], len(page.Users))
	page.Users = page.Users[at:]
	if len(page.Users) > query.Limit {
		page.Users = page.Users[:query.Limit]
		page.Next = query.CursorAfter(page.Users[query.Limit-1])
		b.read[page.Next] = at + query.Limit
	}
	return page, nil
}

type ascends struct{ *model }

func (b ascends) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	if query.After.IsZero() {
		query.Descending = false
	}
	return b.model.List(ctx, query)
}

type neverLast struct{ *model }

func (b neverLast) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	page, err := b.model.List(ctx, query)
	if query.Order == domain.OrderLastLogin && !query.Descending {
		slices.SortStableFunc(page.Users, func(x, y *domain.User) int {
			if x.LastLogin().IsZero() == y.LastLogin().IsZero() {
				return 0
			}
			return y.LastLogin().Compare(x.LastLogin())
		})
	}
	return page, err
}

type anyOrder struct{ *model }

func (b anyOrder) FindByUsernames(ctx context.Context, usernames []domain.Username) ([]*domain.User, error) {
	users, err := b.model.FindByUsernames(ctx, usernames)
	slices.Reverse(users)
	return users, err
}

type looksThenPurges struct{ *model }

func (b looksThenPurges) Purge(ctx context.Context, query domain.ListQuery) (purged domain.Purged, err error) {
	page, err := b.List(ctx, query)
	for _, u := range page.Users {
		b.load(u.ID())
		if b.Delete(ctx, u.ID()) == nil {
			purged.IDs = append(purged.IDs, u.ID())
		}
	}
	purged.Done = page.Next.IsZero()
	return purged, err
}

type purgesByCreation struct{ *model }

func (b purgesByCreation) Purge(ctx context.Context, query domain.ListQuery) (domain.Purged, error) {
	f := &query.Filter
	f.CreatedBefore, f.UnverifiedSince, f.Verified = f.UnverifiedSince, time.Time{}, new(false)
	return b.model.Purge(ctx, query)
}

type keepsManySessions struct{ *model }

func (b keepsManySessions) DeactivateMany(ctx context.Context, ids []domain.ID) ([]domain.ID, error) {
	return b.many(ctx, ids, edited, func(s *domain.UserState, _ time.Time) error { s.Active = false; return nil })
}

type listsHashes struct{ *model }

func (b listsHashes) List(ctx context.Context, query domain.ListQuery) (domain.Page, error) {
	page, err := b.model.List(ctx, query)
	for i, u := range page.Users {
		page.Users[i], err = b.FindByID(ctx, u.ID())
	}
	return page, err
}

type countsFromBefore struct{ *model }

func (b countsFromBefore) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	before := b.load(id)
	u, err := b.model.RecordFailure(ctx, id, policy)
	u, err = altered(u, err, func(s *domain.UserState) { s.FailedLoginAttempts = before.FailedLoginAttempts + 1 })
	if err == nil {
		b.store(u.State())
	}
	return u, err
}

type looksThenRecords struct{ *model }

func (b looksThenRecords) RecordSuccess(ctx context.Context, id domain.ID, checked, better domain.PasswordHash) (at time.Time, err error) {
	s := b.load(id)
	if s.PasswordHash != checked {
		return at, refuse(domain.ErrConflict, "hashed_password")
	}
	_, err = b.change(ctx, id, func(s *domain.UserState, now time.Time) error { s.PasswordHash, at = better, now; return nil })
	return at, err
}

type keepsAll struct{ *model }

func (b keepsAll) SetPassword(
	ctx context.Context, id domain.ID, checked, hash domain.PasswordHash, keep domain.SessionID,
) (*domain.User, error) {
	before := b.load(id)
	u, err := b.model.SetPassword(ctx, id, checked, hash, keep)
	u, err = altered(u, err, func(s *domain.UserState) { s.Sessions = before.Sessions })
	if err == nil {
		b.store(u.State())
	}
	return u, err
}

type looksThenConsumes struct{ *model }

func (b looksThenConsumes) ConsumeReset(ctx context.Context, digest domain.TokenDigest, hash domain.PasswordHash) (*domain.User, error) {
	u, err := b.find(ctx, func(s domain.UserState) bool { return s.ResetToken == digest })
	if err != nil {
		return nil, refuse(domain.ErrTokenInvalid, "token")
	}
	b.load(u.ID())
	return b.SetPassword(ctx, u.ID(), domain.PasswordHash{}, hash, domain.SessionID{})
}

type takesExpired struct{ *model }

func (b takesExpired) ConsumeVerification(ctx context.Context, digest domain.TokenDigest) (domain.Confirmation, error) {
	c, err := b.model.ConsumeVerification(ctx, digest)
	if !errors.Is(err, domain.ErrTokenExpired) {
		return c, err
	}
	u, err := b.find(ctx, func(s domain.UserState) bool { return s.VerificationToken == digest })
	if err != nil {
		return c, err
	}
	u, err = b.Verify(ctx, u.ID())
	return domain.Confirmation{User: u, Email: u.Email()}, err
}

// mailsElsewhere mails to the address that it has read before it issues.
type mailsElsewhere struct{ *model }

func (b mailsElsewhere) SetEmail(ctx context.Context, id domain.ID, email domain.Email) (*domain.User, error) {
	b.load(id)
	return b.model.SetEmail(ctx, id, email)
}

func (b mailsElsewhere) IssueVerification(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	before := b.load(id)
	b.load(id)
	u, err := b.model.IssueVerification(ctx, id, digest, expiry)
	return altered(u, err, func(s *domain.UserState) { s.Email, s.PendingEmail = before.Email, before.PendingEmail })
}

type wrapsAround struct{ *model }

func (b wrapsAround) RecordFailure(ctx context.Context, id domain.ID, policy domain.LockPolicy) (*domain.User, error) {
	if b.load(id).FailedLoginAttempts == domain.MaxFailedLoginAttempts {
		return nil, refuse(domain.ErrInvalid, "failed_login_attempts")
	}
	return b.model.RecordFailure(ctx, id, policy)
}

type looksThenUnlinks struct{ *model }

func (b looksThenUnlinks) UnlinkIdentity(ctx context.Context, id domain.ID, identity domain.Identity, force bool) error {
	if links, err := b.Identities(ctx, id); err == nil && len(links) == 1 && !force && !b.load(id).PasswordHash.HasPassword() {
		return refuse(domain.ErrConflict, "identity")
	}
	time.Sleep(time.Millisecond)
	return b.model.UnlinkIdentity(ctx, id, identity, true)
}

type relinks struct{ *model }

func (b relinks) LinkIdentity(ctx context.Context, id domain.ID, identity domain.Identity) (domain.LinkedIdentity, error) {
	link, err := b.model.LinkIdentity(ctx, id, identity)
	if errors.Is(err, domain.ErrTaken) {
		err = nil
	}
	return link, err
}

type keepsPending struct{ *model }

func (b keepsPending) Deactivate(ctx context.Context, id domain.ID) (*domain.User, error) {
	before := b.load(id)
	u, err := b.model.Deactivate(ctx, id)
	return altered(u, err, func(s *domain.UserState) {
		s.ResetToken, s.ResetTokenExpiry = before.ResetToken, before.ResetTokenExpiry
		b.store(*s)
	})
}

type confirmsAnyNumber struct{ *model }

func (b confirmsAnyNumber) SetPhone(ctx context.Context, id domain.ID, phone domain.Phone) (*domain.User, error) {
	before := b.load(id)
	u, err := b.model.SetPhone(ctx, id, phone)
	return altered(u, err, func(s *domain.UserState) {
		s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = before.PhoneCode, before.PhoneCodeExpiry, before.PhoneCodeAttempts
		b.store(*s)
	})
}

type looksThenGuesses struct{ *model }

func (b looksThenGuesses) ConsumePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest) (domain.PhoneConfirmation, error) {
	before := b.load(id)
	c, err := b.model.ConsumePhoneCode(ctx, id, digest)
	if errors.Is(err, domain.ErrTokenInvalid) && before.PhoneCodeAttempts < domain.MaxPhoneCodeAttempts {
		before.PhoneCodeAttempts++
		b.store(before)
	}
	return c, err
}

// keepsIssued writes what the closure changed and nothing else.
type keepsIssued struct{ *model }

func (b keepsIssued) Update(ctx context.Context, id domain.ID, change func(*domain.User) error) (*domain.User, error) {
	u, err := b.FindByID(ctx, id)
	if err != nil {
		return nil, err
	}
	read := u.State()
	if err := change(u); err != nil {
		return nil, err
	}
	return b.change(ctx, id, func(s *domain.UserState, _ time.Time) error { merge(s, read, u.State()); return nil })
}

type looksThenRotates struct{ *model }

func (b looksThenRotates) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	before := b.load(token.UserID())
	g, err := b.model.RotateToken(ctx, token, policy)
	if _, missing := before.Sessions.Find(token, b.now()); err == nil || missing != nil {
		return g, err
	}
	b.store(before)
	return b.model.RotateToken(ctx, token, policy)
}

type leavesStolen struct{ *model }

func (b leavesStolen) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	before := b.load(token.UserID())
	g, err := b.model.RotateToken(ctx, token, policy)
	if errors.Is(err, domain.ErrTokenReused) {
		b.store(before)
	}
	return g, err
}

type endsAll struct{ *model }

func (b endsAll) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	g, err := b.model.RotateToken(ctx, token, policy)
	if errors.Is(err, domain.ErrTokenReused) {
		s := b.load(token.UserID())
		s.Sessions = nil
		b.store(s)
	}
	return g, err
}

type keepsOldest struct{ *model }

func (b keepsOldest) IssueToken(ctx context.Context, id domain.ID, policy domain.SessionPolicy) (domain.Grant, error) {
	before := b.load(id)
	g, err := b.model.IssueToken(ctx, id, policy)
	if err == nil && len(before.Sessions) > 1 && len(b.load(id).Sessions) <= len(before.Sessions) {
		s := b.load(id)
		s.Sessions = append(before.Sessions[:1:1], s.Sessions[1:]...)
		b.store(s)
	}
	return g, err
}

type hasRotated struct{ *model }

func (b hasRotated) FindByToken(ctx context.Context, token domain.RefreshToken) (*domain.User, domain.Session, error) {
	for _, entry := range b.load(token.UserID()).Sessions {
		if strings.HasPrefix(entry, token.SessionID().String()) {
			u, err := b.FindByID(ctx, token.UserID())
			return u, token.Session(), err
		}
	}
	return b.model.FindByToken(ctx, token)
}

type forks struct{ *model }

// RotateToken gives a replayed token a session's token of its own, as the first design did.
func (b forks) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	before := b.load(token.UserID())
	g, err := b.model.RotateToken(ctx, token, policy)
	if after := b.load(token.UserID()); err == nil && slices.Equal(before.Sessions, after.Sessions) {
		var forked domain.RefreshToken
		if after.Sessions, forked, err = after.Sessions.Issue(token.UserID(), b.now(), policy); err != nil {
			return domain.Grant{}, err
		}
		b.store(after)
		return granted(forked), nil
	}
	return g, err
}

type raisesVersion struct{ *model }

func (b raisesVersion) RotateToken(ctx context.Context, token domain.RefreshToken, policy domain.SessionPolicy) (domain.Grant, error) {
	g, err := b.model.RotateToken(ctx, token, policy)
	if err == nil {
		s := b.load(token.UserID())
		s.Version++
		b.store(s)
	}
	return g, err
}

type countsExpired struct{ *model }

func (b countsExpired) CountSessions(ctx context.Context) (n int, err error) {
	err = b.locked(ctx, func(time.Time) error {
		for _, s := range b.users {
			n += len(s.Sessions)
		}
		return nil
	})
	return n, err
}

type sweepsAll struct{ *model }

func (b sweepsAll) SweepSessions(ctx context.Context, after domain.ID, _ int) (domain.Sweep, error) {
	return b.model.SweepSessions(ctx, after, 1000)
}
