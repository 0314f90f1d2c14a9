package domain

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// device is a client of one account: it signs in, keeps its token and exchanges it.
type device struct {
	t      *testing.T
	policy SessionPolicy
	list   *SessionList
	token  RefreshToken
}

func signIn(t *testing.T, list *SessionList, now time.Time, policy SessionPolicy) *device {
	t.Helper()
	issue := issueToken(t, ownerOfList, now, policy)
	*list = list.Issue(issue)
	return &device{t: t, policy: policy, list: list, token: issue.Token()}
}

// rotate presents a token, stores what comes of it and returns the new token.
func (d *device) rotate(presented RefreshToken, now time.Time) (RefreshToken, error) {
	d.t.Helper()
	rotation, err := NewTokenRotation(presented, now, d.policy)
	if err != nil {
		return RefreshToken{}, err
	}
	list, err := d.list.Rotate(rotation)
	*d.list = list
	if err != nil {
		return RefreshToken{}, err
	}
	return rotation.Token(), nil
}

func (d *device) mustRotate(presented RefreshToken, now time.Time) RefreshToken {
	d.t.Helper()
	token, err := d.rotate(presented, now)
	if err != nil {
		d.t.Fatalf("rotate: %v", err)
	}
	return token
}

// refused demands that presenting a token fails with want and leaves the list as it was.
func (d *device) refused(presented RefreshToken, now time.Time, want Kind) {
	d.t.Helper()
	before := slices.Clone(*d.list)
	if _, err := d.rotate(presented, now); KindOf(err) != want {
		d.t.Errorf("rotate: %v, want %v", err, want)
	}
	if !slices.Equal(before, *d.list) {
		d.t.Errorf("a refused rotation changed the list from %q to %q", before, *d.list)
	}
}

var (
	ownerOfList = NewID()
	noGrace     = SessionPolicy{Grace: NoGrace}
)

func has(t *testing.T, list SessionList, now time.Time, want bool, tokens ...RefreshToken) {
	t.Helper()
	for i, token := range tokens {
		if got := list.Has(token, now); got != want {
			t.Errorf("Has(token %d) = %t, want %t", i, got, want)
		}
	}
}

func TestAppendingATokenToAListThatIsNotEmptyStoresIt(t *testing.T) {
	var list SessionList
	first := signIn(t, &list, tokenTime, SessionPolicy{})
	second := signIn(t, &list, tokenTime, SessionPolicy{})
	if len(list) != 2 {
		t.Errorf("%d entries, want 2", len(list))
	}
	has(t, list, tokenTime, true, first.token, second.token)
}

func TestARemovedTokenIsNoLongerStored(t *testing.T) {
	var list SessionList
	first, second := signIn(t, &list, tokenTime, SessionPolicy{}), signIn(t, &list, tokenTime, SessionPolicy{})
	list = list.Revoke(first.token.SessionID(), tokenTime)
	if len(list) != 1 {
		t.Errorf("%d entries, want 1", len(list))
	}
	has(t, list, tokenTime, false, first.token)
	has(t, list, tokenTime, true, second.token)
	first.refused(first.token, tokenTime, ErrTokenInvalid)
}

func TestARotatedTokenIsDeadAndTheNewOneLives(t *testing.T) {
	for name, policy := range map[string]SessionPolicy{"no grace": noGrace, "grace": {}} {
		t.Run(name, func(t *testing.T) {
			var list SessionList
			bystander := signIn(t, &list, tokenTime, policy)
			d := signIn(t, &list, tokenTime, policy)
			next := d.mustRotate(d.token, tokenTime)
			has(t, list, tokenTime, false, d.token)
			has(t, list, tokenTime, true, next, bystander.token)
			if next.SessionID() != d.token.SessionID() {
				t.Error("the new token belongs to another session")
			}
		})
	}
}

func TestListsAreNeverChangedInPlace(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	signIn(t, &list, tokenTime, SessionPolicy{})
	rotation, err := NewTokenRotation(d.token, tokenTime, SessionPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	grown := slices.Grow(slices.Clone(list), 8) // room to append to
	before := slices.Clone(grown[:cap(grown)])
	grown.Issue(issueToken(t, ownerOfList, tokenTime, SessionPolicy{Cap: 1}))
	if _, err := grown.Rotate(rotation); err != nil {
		t.Error(err)
	}
	grown.Revoke(d.token.SessionID(), tokenTime)
	grown.RevokeOthers(d.token.SessionID(), tokenTime)
	grown.Prune(tokenTime.Add(1000 * time.Hour))
	if !slices.Equal(before, grown[:cap(grown)]) {
		t.Error("a method changed the list that it was called on")
	}
}

func TestIssueAtTheCapEndsTheOldestSession(t *testing.T) {
	var list SessionList
	var devices []*device
	for i := range DefaultSessionCap {
		devices = append(devices, signIn(t, &list, tokenTime.Add(time.Duration(i)*time.Second), SessionPolicy{}))
	}
	now := tokenTime.Add(time.Minute)
	oldest := devices[0].mustRotate(devices[0].token, now) // rotation makes no session younger
	devices = append(devices, signIn(t, &list, now, SessionPolicy{}))
	has(t, list, now, false, oldest)
	if sessions := list.Sessions(now); len(sessions) != DefaultSessionCap || len(list) != DefaultSessionCap {
		t.Errorf("%d sessions in %d entries, want %d", len(sessions), len(list), DefaultSessionCap)
	}
	for _, d := range devices[1:] {
		has(t, list, now, true, d.token)
	}

	last := signIn(t, &list, now, SessionPolicy{Cap: 1})
	if len(list) != 1 {
		t.Errorf("%d entries at a cap of 1", len(list))
	}
	has(t, list, now, true, last.token)
}

func TestTheNewestSessionIsTheOneStoredLast(t *testing.T) {
	var list SessionList
	var ids []SessionID
	for _, lag := range []time.Duration{0, time.Minute, time.Minute, 30 * time.Second} { // four servers, four clocks
		ids = append(ids, signIn(t, &list, tokenTime.Add(-lag), SessionPolicy{Cap: 3}).token.SessionID())
	}
	var listed []SessionID
	for _, s := range list.Sessions(tokenTime) {
		listed = append(listed, s.ID)
	}
	if !slices.Equal(listed, ids[1:]) {
		t.Errorf("sessions %v, want %v", listed, ids[1:])
	}
}

func TestRotatedTokenWithinGraceGetsASibling(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	first := d.mustRotate(d.token, tokenTime)
	last := tokenTime.Add(DefaultSessionGrace - time.Millisecond)
	second, third := d.mustRotate(d.token, tokenTime), d.mustRotate(d.token, last)
	has(t, list, last, true, first, second, third)
	if sessions := list.Sessions(last); len(sessions) != 1 || sessions[0].ID != d.token.SessionID() {
		t.Errorf("%d sessions, want 1", len(sessions))
	}
	now := last.Add(time.Hour)
	for _, sibling := range []RefreshToken{first, second, third} {
		has(t, list, now, true, d.mustRotate(sibling, now))
	}
}

func TestRotatedTokenAfterGraceEndsItsSessionAndNoOther(t *testing.T) {
	minute := SessionPolicy{Grace: time.Minute}
	for name, test := range map[string]struct {
		rotated, replayed SessionPolicy
		after             time.Duration
	}{
		"no grace":               {noGrace, noGrace, 0},
		"at the end of grace":    {minute, minute, time.Minute},
		"days after":             {SessionPolicy{}, SessionPolicy{}, 3 * 24 * time.Hour},
		"grace taken back":       {minute, noGrace, time.Second},
		"grace granted too late": {noGrace, minute, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var list SessionList
			bystander := signIn(t, &list, tokenTime, test.rotated)
			d := signIn(t, &list, tokenTime, test.rotated)
			next := d.mustRotate(d.token, tokenTime)
			d.policy = test.replayed
			now := tokenTime.Add(test.after)
			if _, err := d.rotate(d.token, now); !errors.Is(err, ErrTokenReused) {
				t.Fatalf("replay: %v", err)
			}
			has(t, list, now, false, d.token, next)
			has(t, list, now, true, bystander.token)
			if len(list) != 1 {
				t.Errorf("%d entries, want 1", len(list))
			}
			d.refused(next, now, ErrTokenInvalid)
			d.refused(d.token, now, ErrTokenInvalid)
		})
	}
}

func TestExpiredAndUnknownTokensChangeNothing(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour}
	var list, elsewhere SessionList
	d := signIn(t, &list, tokenTime, policy)
	list = append(list, "written by hand", strings.Repeat("x", LiveEntryLen))
	foreign := signIn(t, &elsewhere, tokenTime, policy)

	d.refused(foreign.token, tokenTime, ErrTokenInvalid)
	d.refused(mintToken(ownerOfList, string(randomBytes(16)), math.MaxInt32<<12, math.MaxInt32<<12), tokenTime, ErrTokenInvalid)
	d.refused(d.token, tokenTime.Add(time.Hour), ErrTokenExpired)
	later := tokenTime.Add(time.Hour)
	d.refused(signIn(t, &elsewhere, later, policy).token, later, ErrTokenInvalid) // what has expired meanwhile stays as well
	has(t, list, later, false, d.token)
	has(t, list, tokenTime, true, d.token)
}

// Who knows all that is listed, logged and stored, and even another account's token, still cannot touch the session.
func TestNobodyCanEndASessionWithAMadeUpToken(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	end := d.token.ExpiresAt().UnixMilli()
	id := d.token.SessionID().String()
	raw, err := base64url.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{string(raw), id[:16], id[6:], list[0][EntryDigest:][:16], strings.Repeat("\x00", 16)} {
		d.refused(mintToken(ownerOfList, secret, end, end), tokenTime, ErrTokenInvalid)
	}
	has(t, list, tokenTime, true, d.token)
}

// A token of the session whose own secret was altered proves that somebody holds a copy.
func TestRightSessionWithAWrongTokenSecretIsReuse(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	end := d.token.ExpiresAt().UnixMilli()
	if _, err := d.rotate(mintToken(ownerOfList, d.token.familySecret(), end, end), tokenTime); !errors.Is(err, ErrTokenReused) {
		t.Errorf("rotate: %v", err)
	}
	has(t, list, tokenTime, false, d.token)
}

func TestALongerLifeCannotBeWrittenIntoAToken(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour, Absolute: 2 * time.Hour}
	var list SessionList
	d := signIn(t, &list, tokenTime, policy)
	for _, at := range []int{tokenExpiryAt, tokenAbsoluteAt} {
		raw := appendMillis([]byte(d.token.raw[:at]), maxMillis)
		raw = append(raw, d.token.raw[len(raw):tokenChecksumAt]...)
		checksum := tokenHash(labelChecksum, raw)
		forged, err := ParseRefreshToken(base64url.EncodeToString(append(raw, checksum[:8]...)))
		if err != nil {
			t.Fatal(err)
		}
		has(t, list, tokenTime, false, forged)
		if _, err := NewTokenRotation(forged, tokenTime, policy); err != nil {
			t.Fatal(err)
		}
		stored := list
		if _, err := d.rotate(forged, tokenTime); !errors.Is(err, ErrTokenReused) {
			t.Errorf("rotate: %v", err)
		}
		list = stored
	}
}

func TestAbsoluteExpiryHoldsThoughIdleExpirySlides(t *testing.T) {
	policy := SessionPolicy{Idle: 10 * time.Hour, Absolute: 24 * time.Hour, Grace: NoGrace}
	var list SessionList
	d := signIn(t, &list, tokenTime, policy)
	end := tokenTime.Truncate(time.Millisecond).Add(24 * time.Hour).UTC()
	token := d.token
	d.policy.Absolute = 1000 * time.Hour // of no effect on a session that exists
	for hour := range 23 {
		now := tokenTime.Add(time.Duration(hour) * time.Hour)
		token = d.mustRotate(token, now)
		want := now.Truncate(time.Millisecond).Add(10 * time.Hour).UTC()
		if want.After(end) {
			want = end
		}
		s := list.Sessions(now)[0]
		if !token.ExpiresAt().Equal(want) || s.ExpiresAt != want || s.AbsoluteExpiry != end || s.IssuedAt != tokenTime.Truncate(time.Millisecond).UTC() || s.RotatedAt != now.Truncate(time.Millisecond).UTC() {
			t.Fatalf("hour %d: token expires %v, session %+v; want %v and %v", hour, token.ExpiresAt(), s, want, end)
		}
	}
	d.refused(token, end, ErrTokenExpired)
}

func TestListingShowsNoDigest(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	shown, err := json.Marshal(list.Sessions(tokenTime))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), d.token.Digest()[:EntryTagLen]) || !strings.Contains(string(shown), d.token.SessionID().String()) {
		t.Errorf("listed: %s", shown)
	}
}

func TestRevoking(t *testing.T) {
	var list SessionList
	var ids []SessionID
	for range 3 {
		d := signIn(t, &list, tokenTime, SessionPolicy{})
		d.mustRotate(d.token, tokenTime) // so that each has a retired entry too
		ids = append(ids, d.token.SessionID())
	}
	unknown := issueToken(t, ownerOfList, tokenTime, SessionPolicy{}).Token().SessionID()
	left := func(list SessionList) (left []SessionID) {
		for _, s := range list.Sessions(tokenTime) {
			left = append(left, s.ID)
		}
		if len(list) != 2*len(left) {
			t.Errorf("%d entries of %d sessions", len(list), len(left))
		}
		return left
	}
	one := list.Revoke(ids[1], tokenTime)
	others := list.RevokeOthers(ids[1], tokenTime)
	if got := left(one); !slices.Equal(got, []SessionID{ids[0], ids[2]}) {
		t.Errorf("Revoke left %v", got)
	}
	if got := left(others); !slices.Equal(got, ids[1:2]) {
		t.Errorf("RevokeOthers left %v", got)
	}
	if again := one.Revoke(ids[1], tokenTime); !slices.Equal(again, one) {
		t.Error("Revoke is not idempotent")
	}
	if again := others.RevokeOthers(ids[1], tokenTime); !slices.Equal(again, others) {
		t.Error("RevokeOthers is not idempotent")
	}
	if got := left(list.Revoke(unknown, tokenTime)); !slices.Equal(got, ids) {
		t.Errorf("Revoke of an unknown session left %v", got)
	}
	if got := list.RevokeOthers(unknown, tokenTime); len(got) != 0 {
		t.Errorf("RevokeOthers but an unknown session left %q", got)
	}
}

func TestExpiredEntriesVanishOnTheNextWrite(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour}
	var list SessionList
	d := signIn(t, &list, tokenTime, policy)
	d.mustRotate(d.token, tokenTime)
	now := tokenTime.Add(time.Hour)
	live := signIn(t, &SessionList{}, now, policy)
	rotation, err := NewTokenRotation(live.token, now, noGrace)
	if err != nil {
		t.Fatal(err)
	}
	stale := append(slices.Clone(list), "written by hand", "", strings.Repeat("é", LiveEntryLen/2), (*live.list)[0])
	if got := stale.Sessions(now); len(got) != 1 || got[0].ID != live.token.SessionID() {
		t.Errorf("%d sessions, want the one not expired", len(got))
	}
	rotated, err := stale.Rotate(rotation)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		list SessionList
		want int
	}{
		"issue":         {stale.Issue(issueToken(t, ownerOfList, now, policy)), 2},
		"rotate":        {rotated, 1},
		"revoke":        {stale.Revoke(live.token.SessionID(), now), 0},
		"revoke others": {stale.RevokeOthers(live.token.SessionID(), now), 1},
		"prune":         {stale.Prune(now), 1},
	} {
		if len(test.list) != test.want || test.list == nil {
			t.Errorf("%s left %q, want %d entries in a list that is not null", name, test.list, test.want)
		}
	}
}

func TestReplaysAndRotationsInGraceStayBounded(t *testing.T) {
	var list SessionList
	bystander := signIn(t, &list, tokenTime, SessionPolicy{})
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	token := d.mustRotate(d.token, tokenTime)
	var minted []RefreshToken
	for range 10_000 {
		minted = append(minted, d.mustRotate(d.token, tokenTime))
	}
	has(t, list, tokenTime, false, token, minted[len(minted)-MaxSessionTokens-1])
	has(t, list, tokenTime, true, minted[len(minted)-MaxSessionTokens:]...)
	has(t, list, tokenTime, true, bystander.token)
	token = minted[len(minted)-1]
	for range 1000 {
		token = d.mustRotate(token, tokenTime)
	}
	if want := 1 + 2*MaxSessionTokens; len(list) != want {
		t.Errorf("%d entries, want %d", len(list), want)
	}
}

// Entries of one session that were given different times by hand are read to its disadvantage.
func TestTheEarliestTimeOfIssueCounts(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	earlier := tokenTime.Add(-time.Hour)
	for _, issued := range []time.Time{earlier, tokenTime} {
		list = append(list, list[0][:EntryIssued]+EntryTime(issued))
	}
	if got := list.Sessions(tokenTime); len(got) != 1 || EntryTime(got[0].IssuedAt) != EntryTime(earlier) {
		t.Errorf("sessions %+v, want one issued at %v", got, earlier)
	}
	d.mustRotate(d.token, tokenTime)
	if last := list[len(list)-1]; last[EntryIssued:] != EntryTime(earlier) {
		t.Errorf("the rotated entry %q is not issued at %v", last, earlier)
	}
}

// A few tabs that share one token, time and again, are never signed out.
func TestFourTabsRotateOneTokenFortyTimes(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	shared := d.token
	for range 40 {
		var tabs []RefreshToken
		for range 4 {
			tabs = append(tabs, d.mustRotate(shared, tokenTime))
		}
		has(t, list, tokenTime, true, tabs...)
		for i, token := range tabs {
			tabs[i] = d.mustRotate(token, tokenTime)
		}
		has(t, list, tokenTime, true, tabs...)
		shared = tabs[3]
	}
}

func TestSessionPolicyBounds(t *testing.T) {
	for field, policies := range map[string][]SessionPolicy{
		"": {
			{}, {Cap: 1}, {Cap: 1000}, {Idle: time.Millisecond}, {Absolute: time.Millisecond}, {Idle: math.MaxInt64, Absolute: math.MaxInt64},
			{Grace: NoGrace}, {Grace: time.Millisecond}, {Grace: time.Hour},
		},
		"cap":      {{Cap: -1}, {Cap: 1001}},
		"idle":     {{Idle: -1}, {Idle: time.Millisecond - 1}},
		"absolute": {{Absolute: -time.Hour}, {Absolute: 1}},
		"grace":    {{Grace: -2}, {Grace: 1}, {Grace: time.Hour + 1}},
	} {
		for _, policy := range policies {
			_, issueErr := NewTokenIssue(ownerOfList, tokenTime, policy)
			token := issueToken(t, ownerOfList, tokenTime, SessionPolicy{}).Token()
			_, rotateErr := NewTokenRotation(token, tokenTime, policy)
			for _, err := range []error{policy.Validate(), issueErr, rotateErr} {
				var refusal *Error
				if field == "" && err != nil || field != "" && (!errors.As(err, &refusal) || refusal.Field != field || refusal.Kind != ErrInvalid) {
					t.Errorf("%+v: %v, want the field %q", policy, err, field)
				}
			}
		}
	}
}

func TestEntryTimesCompareAsTimesDo(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	times := []time.Time{year(1970), year(2026), year(2026).Add(time.Millisecond), year(2058), year(2060), year(5188), year(9999)}
	for i, at := range times {
		text := EntryTime(at)
		if len(text) != EntryTimeLen || !isEntryTime(text) {
			t.Errorf("EntryTime(%v) = %q", at, text)
		}
		if i > 0 && text <= EntryTime(times[i-1]) {
			t.Errorf("%v is not after %v as text", at, times[i-1])
		}
		if got := parseEntryTime(text); i < len(times)-1 && !got.Equal(at) {
			t.Errorf("%v came back as %v", at, got)
		}
	}
	if EntryTime(time.Time{}) != "000000000" || EntryTime(year(9999)) != "zzzzzzzzz" {
		t.Errorf("bounds: %q, %q", EntryTime(time.Time{}), EntryTime(year(9999)))
	}
	if EntryTime(tokenTime) != EntryTime(tokenTime.Truncate(time.Millisecond)) {
		t.Error("a time is not cut to the millisecond")
	}
}

// The store's statements depend on the positions.
func TestEntryLayout(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{Idle: time.Hour, Absolute: 2 * time.Hour})
	next := d.mustRotate(d.token, tokenTime.Add(time.Minute))
	if len(list) != 2 || len(list[0]) != RetiredEntryLen || len(list[1]) != LiveEntryLen || RetiredEntryLen != 55 || LiveEntryLen != 106 {
		t.Fatalf("list %q", list)
	}
	retired, live := list[0], list[1]
	for name, pair := range map[string][2]string{
		"live expires":    {live[EntryExpires:][:EntryTimeLen], EntryTime(tokenTime.Add(61 * time.Minute))},
		"live session":    {live[EntrySession:][:EntrySessionLen], d.token.SessionID().String()},
		"live digest":     {live[EntryDigest:][:EntryDigestLen], next.Digest()},
		"live rotated":    {live[EntryRotated:][:EntryTimeLen], EntryTime(tokenTime.Add(time.Minute))},
		"live absolute":   {live[EntryAbsolute:][:EntryTimeLen], EntryTime(tokenTime.Add(2 * time.Hour))},
		"live issued":     {live[EntryIssued:][:EntryTimeLen], EntryTime(tokenTime)},
		"retired expires": {retired[EntryExpires:][:EntryTimeLen], EntryTime(tokenTime.Add(time.Minute + DefaultSessionGrace))},
		"retired session": {retired[EntrySession:][:EntrySessionLen], d.token.SessionID().String()},
		"retired tag":     {retired[EntryDigest:][:EntryTagLen], d.token.Digest()[:EntryTagLen]},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", name, pair[0], pair[1])
		}
	}
	for i := range live {
		for _, wrong := range []byte{'.', '!', 0, 0xff, 'Z'} {
			entry := []byte(live)
			entry[i] = wrong
			_, ok := readEntry(string(entry))
			inBase64 := i >= EntrySession && i < EntryDigest-1 || i >= EntryDigest && i < EntryRotated-1
			allowed := wrong == live[i] || wrong == 'Z' && inBase64
			if ok != allowed {
				t.Errorf("position %d as %q: accepted %t", i, wrong, ok)
			}
		}
	}
}

func TestTwentySessionsFitInARow(t *testing.T) {
	var list SessionList
	for range DefaultSessionCap {
		d := signIn(t, &list, tokenTime, SessionPolicy{})
		d.mustRotate(d.token, tokenTime)
	}
	stored, err := json.Marshal([]string(list))
	if err != nil {
		t.Fatal(err)
	}
	want := 1 + DefaultSessionCap*(LiveEntryLen+3+RetiredEntryLen+3) // quotes and commas
	if len(list) != 2*DefaultSessionCap || len(stored) != want {
		t.Errorf("%d entries in %d bytes, want %d", len(list), len(stored), want)
	}
	t.Logf("20 sessions, each rotated a moment ago: %d bytes of JSON", len(stored))
}

// What follows tells the rules once more, with objects and numbers instead of strings, and compares.

type modelToken struct {
	token    RefreshToken
	digest   string
	sequence int // of minting
	expires  int64
	rotated  int64
}

type modelRetired struct {
	*modelToken
	until int64
}

type modelFamily struct {
	id       SessionID
	issued   int64
	absolute int64
	live     []*modelToken
	retired  []modelRetired
}

// machine drives a list and a model of it with the same calls.
type machine struct {
	list     SessionList
	clock    int64 // Unix milliseconds
	families []*modelFamily
	all      []*modelToken // every token that there ever was, those of ended sessions too
	bounded  int           // entries that went because their session had too many
}

func (m *machine) now() time.Time { return time.UnixMilli(m.clock) }

func (m *machine) alive(t *modelToken) bool { return t.expires > m.clock }

// signedIn returns the families with a live token, the oldest first.
func (m *machine) signedIn() []*modelFamily {
	var families []*modelFamily
	for _, f := range m.families {
		if slices.ContainsFunc(f.live, m.alive) {
			families = append(families, f)
		}
	}
	first := func(f *modelFamily) int { return f.live[slices.IndexFunc(f.live, m.alive)].sequence }
	slices.SortFunc(families, func(a, b *modelFamily) int {
		return cmp.Or(cmp.Compare(a.issued, b.issued), cmp.Compare(first(a), first(b)))
	})
	return families
}

func (m *machine) find(session SessionID) *modelFamily {
	for _, f := range m.signedIn() {
		if f.id == session {
			return f
		}
	}
	return nil
}

func (m *machine) end(f *modelFamily) {
	m.families = slices.DeleteFunc(m.families, func(other *modelFamily) bool { return other == f })
}

// write forgets what has expired, which happens when a list is written and not before: clocks may run backwards.
func (m *machine) write() {
	for _, f := range m.families {
		f.live = slices.DeleteFunc(f.live, func(t *modelToken) bool { return !m.alive(t) })
		f.retired = slices.DeleteFunc(f.retired, func(r modelRetired) bool { return r.until <= m.clock })
	}
	m.families = slices.DeleteFunc(m.families, func(f *modelFamily) bool { return len(f.live)+len(f.retired) == 0 })
}

// mint expects the token to be a new one of the family.
func (m *machine) mint(t *rapid.T, token RefreshToken, f *modelFamily, policy SessionPolicy) {
	minted := &modelToken{
		token: token, digest: token.Digest(), sequence: len(m.all), rotated: m.clock,
		expires: min(m.clock+millisOr(policy.Idle, 14*24*3600*1000), f.absolute),
	}
	m.all = append(m.all, minted)
	f.live = append(f.live, minted)
	m.bounded += max(0, len(f.live)-16) + max(0, len(f.retired)-16)
	f.live = slices.Clone(f.live[max(0, len(f.live)-16):])
	f.retired = slices.Clone(f.retired[max(0, len(f.retired)-16):])
	if got := token.ExpiresAt().UnixMilli(); got != minted.expires || token.SessionID() != f.id || token.UserID() != ownerOfList {
		t.Fatalf("the new token expires at %d, want %d; or it is not of the session and the user", got, minted.expires)
	}
}

func millisOr(given time.Duration, byDefault int64) int64 {
	if given == 0 {
		return byDefault
	}
	return given.Milliseconds()
}

// seldom is true in one of eight draws.
func seldom(t *rapid.T, label string) bool {
	return rapid.SampledFrom([]bool{false, false, false, false, false, false, false, true}).Draw(t, label)
}

func drawPolicy(t *rapid.T) SessionPolicy {
	millis := func(name string, choice ...int) time.Duration {
		return time.Duration(rapid.SampledFrom(choice).Draw(t, name)) * time.Millisecond
	}
	policy := SessionPolicy{
		Cap:      rapid.SampledFrom([]int{0, 5, 3, 2, 1}).Draw(t, "cap"),
		Idle:     millis("idle", 0, 0, 4000, 400, 40, 1),
		Absolute: millis("absolute", 0, 0, 9000, 1000, 100, 1),
		Grace:    millis("grace", 0, 500, 30, 1),
	}
	if seldom(t, "no grace") {
		policy.Grace = NoGrace
	}
	return policy
}

func (m *machine) issue(t *rapid.T) {
	policy := drawPolicy(t)
	issue, err := NewTokenIssue(ownerOfList, m.now(), policy)
	if err != nil {
		t.Fatal(err)
	}
	m.list = m.list.Issue(issue)

	m.write()
	f := &modelFamily{id: issue.Token().SessionID(), issued: m.clock, absolute: m.clock + millisOr(policy.Absolute, 30*24*3600*1000)}
	others := m.signedIn()
	for _, other := range others {
		f.issued = max(f.issued, other.issued)
	}
	for ; len(others) >= cmp.Or(policy.Cap, 20); others = others[1:] {
		m.end(others[0])
	}
	m.families = append(m.families, f)
	m.mint(t, issue.Token(), f, policy)
}

// present rotates a token; known is what the model knows of it, nil for one that was made up. It returns how it came out: the
// kind of the refusal, "replaced" or "sibling".
func (m *machine) present(t *rapid.T, token RefreshToken, known *modelToken) Kind {
	policy := drawPolicy(t)
	before := slices.Clone(m.list)
	rotation, err := NewTokenRotation(token, m.now(), policy)
	if err == nil {
		m.list, err = m.list.Rotate(rotation)
	}
	expect := func(want Kind) {
		if KindOf(err) != want {
			t.Fatalf("rotate: %v, want %q", err, want)
		}
	}

	f := m.find(token.SessionID())
	if expired := token.ExpiresAt().UnixMilli() <= m.clock; expired || f == nil {
		want := ErrTokenInvalid
		if expired {
			want = ErrTokenExpired
		}
		expect(want)
		if !slices.Equal(before, m.list) {
			t.Fatal("a refused rotation changed the list")
		}
		return want
	}
	m.write()
	live := slices.Index(f.live, known)
	retired := slices.ContainsFunc(f.retired, func(r modelRetired) bool { return r.modelToken == known })
	switch {
	case live >= 0:
		expect("")
		f.live = slices.Delete(f.live, live, live+1)
		if policy.Grace != NoGrace {
			f.retired = append(f.retired, modelRetired{known, m.clock + millisOr(policy.Grace, 10_000)})
		}
		m.mint(t, rotation.Token(), f, policy)
		return "replaced"
	case retired && policy.Grace != NoGrace:
		expect("")
		m.mint(t, rotation.Token(), f, policy)
		return "sibling"
	default:
		expect(ErrTokenReused)
		m.end(f)
		return ErrTokenReused
	}
}

// check compares what the list holds and answers with the model.
func (m *machine) check(t *rapid.T) {
	type stored struct {
		session, digest          string
		issued, rotated, expires int64
	}
	want := make(map[stored]int)
	for _, f := range m.families {
		for _, token := range f.live {
			want[stored{f.id.String(), token.digest, f.issued, token.rotated, token.expires}]++
		}
		for _, r := range f.retired {
			want[stored{session: f.id.String(), digest: r.digest[:22], expires: r.until}]++
		}
	}
	millis := func(text string) int64 { return parseEntryTime(text).UnixMilli() }
	for _, text := range m.list {
		e, ok := readEntry(text)
		if !ok {
			continue // written by hand since the last write
		}
		got := stored{session: e.session, digest: e.digest, expires: millis(e.expires)}
		if e.live() {
			got.issued, got.rotated = millis(e.issued), millis(e.rotated)
		}
		if want[got]--; want[got] < 0 {
			t.Fatalf("the list holds what the model does not: %+v", got)
		}
	}
	for entry, missing := range want {
		if missing > 0 {
			t.Fatalf("the list lacks %+v", entry)
		}
	}

	sessions, signedIn := m.list.Sessions(m.now()), m.signedIn()
	if len(sessions) != len(signedIn) {
		t.Fatalf("%d sessions, want %d", len(sessions), len(signedIn))
	}
	for i, f := range signedIn {
		expected := Session{ID: f.id, IssuedAt: time.UnixMilli(f.issued).UTC(), AbsoluteExpiry: time.UnixMilli(f.absolute).UTC()}
		for _, token := range f.live {
			if m.alive(token) {
				expected.RotatedAt = latest(expected.RotatedAt, token.rotated)
				expected.ExpiresAt = latest(expected.ExpiresAt, token.expires)
			}
		}
		if sessions[i] != expected {
			t.Fatalf("session %d is %+v, want %+v", i, sessions[i], expected)
		}
	}

	for range min(2, len(m.all)) {
		token := rapid.SampledFrom(m.all).Draw(t, "token to look for")
		f := m.find(token.token.SessionID())
		held := f != nil && slices.Contains(f.live, token) && m.alive(token)
		if got := m.list.Has(token.token, m.now()); got != held {
			t.Fatalf("Has = %t, want %t", got, held)
		}
	}
}

func latest(t time.Time, millis int64) time.Time {
	if other := time.UnixMilli(millis).UTC(); other.After(t) {
		return other
	}
	return t
}

// recent draws a token, the latest ones more often.
func (m *machine) recent(t *rapid.T) *modelToken {
	if len(m.all) == 0 {
		t.Skip("no token yet")
	}
	return m.all[len(m.all)-1-rapid.IntRange(0, len(m.all)-1).Draw(t, "token's age")]
}

func (m *machine) actions(outcomes map[Kind]int) map[string]func(*rapid.T) {
	stranger := mintToken(NewID(), "a stranger's 16 B", maxMillis, maxMillis)
	present := func(t *rapid.T, token RefreshToken, known *modelToken) { outcomes[m.present(t, token, known)]++ }
	return map[string]func(*rapid.T){
		"":      m.check,
		"issue": m.issue,
		"rotate a live token": func(t *rapid.T) {
			signedIn := m.signedIn()
			if len(signedIn) == 0 {
				t.Skip("nobody is signed in")
			}
			live := rapid.SampledFrom(signedIn).Draw(t, "session").live
			known := live[rapid.IntRange(0, len(live)-1).Draw(t, "token")]
			present(t, known.token, known)
		},
		"present any token": func(t *rapid.T) {
			known := m.recent(t)
			present(t, known.token, known)
		},
		"replay a retired token many times": func(t *rapid.T) {
			var retired []modelRetired
			for _, f := range m.signedIn() {
				retired = append(retired, f.retired...)
			}
			if len(retired) == 0 {
				t.Skip("no token was retired")
			}
			known := rapid.SampledFrom(retired).Draw(t, "token").modelToken
			for range rapid.SampledFrom([]int{1, 2, 20}).Draw(t, "times") {
				present(t, known.token, known)
			}
		},
		"present a token made up from a session's id": func(t *rapid.T) {
			id := m.recent(t).token.SessionID().String()
			present(t, mintToken(ownerOfList, id[:16], maxMillis, maxMillis), nil)
		},
		"present a wrong secret within a session": func(t *rapid.T) {
			if !seldom(t, "end a session") {
				t.Skip("much of it would leave little to do for the others")
			}
			end := m.clock + rapid.Int64Range(-1, 1).Draw(t, "expiry")
			present(t, mintToken(ownerOfList, m.recent(t).token.familySecret(), end, end), nil)
		},
		"present another account's token": func(t *rapid.T) { present(t, stranger, nil) },
		"revoke": func(t *rapid.T) {
			if !seldom(t, "end a session") {
				t.Skip("much of it would leave little to do for the others")
			}
			id := m.recent(t).token.SessionID()
			m.list = m.list.Revoke(id, m.now())
			m.write()
			m.families = slices.DeleteFunc(m.families, func(f *modelFamily) bool { return f.id == id })
		},
		"revoke others": func(t *rapid.T) {
			if !seldom(t, "end the other sessions") {
				t.Skip("much of it would leave little to do for the others")
			}
			id := m.recent(t).token.SessionID()
			m.list = m.list.RevokeOthers(id, m.now())
			m.write()
			m.families = slices.DeleteFunc(m.families, func(f *modelFamily) bool { return f.id != id })
		},
		"prune": func(*rapid.T) {
			m.list = m.list.Prune(m.now())
			m.write()
		},
		"wait": func(t *rapid.T) {
			m.clock += rapid.SampledFrom([]int64{1, 5, 29, 100, -1, -20}).Draw(t, "ms")
			if seldom(t, "long") {
				m.clock += rapid.SampledFrom([]int64{900, 11_000, 15 * 24 * 3600 * 1000}).Draw(t, "ms")
			}
		},
		"hand writes": func(t *rapid.T) {
			m.list = append(slices.Clone(m.list), rapid.StringN(0, 120, -1).Draw(t, "text"))
		},
	}
}

func TestSessionListObeysItsModel(t *testing.T) {
	const wantSteps = 100_000
	if err := flag.Set("rapid.steps", "250"); err != nil { // a session's life is longer than rapid's 30
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.steps", "30") })
	steps, bounded, outcomes := 0, 0, make(map[Kind]int)
	for steps < wantSteps && !t.Failed() {
		rapid.Check(t, func(t *rapid.T) {
			m := &machine{clock: tokenTime.UnixMilli()}
			actions := m.actions(outcomes)
			check := actions[""]
			actions[""] = func(t *rapid.T) { steps++; check(t) }
			t.Repeat(actions)
			bounded += m.bounded
		})
	}
	t.Logf("%d steps; outcomes of rotations: %v; %d entries beyond the bound", steps, outcomes, bounded)
	if bounded == 0 {
		t.Error("no session ever had too many tokens")
	}
	for _, outcome := range []Kind{"replaced", "sibling", ErrTokenExpired, ErrTokenInvalid, ErrTokenReused} {
		if outcomes[outcome] < wantSteps/200 {
			t.Errorf("only %d rotations came out as %q: the model saw too few", outcomes[outcome], outcome)
		}
	}
}
