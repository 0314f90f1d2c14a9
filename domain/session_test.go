package domain

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/softbee/accounts/domain/entry"
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
	var token RefreshToken
	*list, token = mustIssue(t, *list, ownerOfList, now, policy)
	return &device{t: t, policy: policy, list: list, token: token}
}

// rotate presents a token, stores what comes of it and returns the token that the client gets.
func (d *device) rotate(presented RefreshToken, now time.Time) (RefreshToken, error) {
	d.t.Helper()
	list, token, err := d.list.Rotate(presented, now, d.policy)
	*d.list = list
	return token, err
}

func (d *device) mustRotate(presented RefreshToken, now time.Time) RefreshToken {
	d.t.Helper()
	token, err := d.rotate(presented, now)
	if err != nil {
		d.t.Fatalf("rotate: %v", err)
	}
	return token
}

// converges demands that presenting a token gives the live one and leaves the list as it was.
func (d *device) converges(presented RefreshToken, now time.Time, live RefreshToken) {
	d.t.Helper()
	before := slices.Clone(*d.list)
	token, err := d.rotate(presented, now)
	if err != nil || token != live {
		d.t.Errorf("rotate: another token than the live one, %v", err)
	}
	if !slices.Equal(before, *d.list) {
		d.t.Errorf("a replay changed the list from %q to %q", before, *d.list)
	}
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
		if session, err := list.Find(token, now); (err == nil) != want || err == nil && session.ID != token.SessionID() {
			t.Errorf("Find(token %d) = %+v, %v; want it to be live: %t", i, session, err, want)
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
	grown := slices.Grow(slices.Clone(list), 8) // room to append to
	before := slices.Clone(grown[:cap(grown)])
	mustIssue(t, grown, ownerOfList, tokenTime, SessionPolicy{Cap: 1})
	if _, _, err := grown.Rotate(d.token, tokenTime, SessionPolicy{}); err != nil {
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

func TestRotatedTokenWithinGraceGetsTheLiveOne(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	tokens := []RefreshToken{d.token}
	for i := range 5 { // five rotations within the grace interval of the first
		tokens = append(tokens, d.mustRotate(tokens[i], tokenTime.Add(time.Duration(i)*time.Second)))
	}
	live := tokens[5]
	last := tokenTime.Add(DefaultSessionGrace - time.Millisecond)
	for _, retired := range tokens[:5] {
		d.converges(retired, last, live)
	}
	has(t, list, last, false, tokens[:5]...)
	has(t, list, last, true, live)
	if _, err := d.rotate(tokens[0], last.Add(time.Millisecond)); !errors.Is(err, ErrTokenReused) {
		t.Errorf("replay after grace: %v", err)
	}
	has(t, list, last, false, live)
}

// A retired token leads to the live one over those that were retired after it, even if their grace intervals are over already.
func TestShortGraceIntervalsLeadOnTheWay(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	second := d.mustRotate(d.token, tokenTime)
	d.policy.Grace = time.Millisecond
	third := d.mustRotate(second, tokenTime)
	d.policy.Grace = 0
	fourth := d.mustRotate(third, tokenTime.Add(time.Second))
	d.converges(d.token, tokenTime.Add(2*time.Second), fourth)
	d.converges(third, tokenTime.Add(2*time.Second), fourth)
	if _, err := d.rotate(second, tokenTime.Add(2*time.Second)); !errors.Is(err, ErrTokenReused) {
		t.Errorf("replay of the token whose own grace is over: %v", err)
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

// The first design gave each replay within grace a token of its own, with which owner and thief went on side by side.
func TestOwnerAndThiefCannotGoOnSideBySide(t *testing.T) {
	const day = 24 * time.Hour
	for _, thiefFirst := range []bool{false, true} {
		for _, after := range []time.Duration{0, 5 * time.Second, 9 * time.Second, 11 * time.Second} {
			t.Run(fmt.Sprintf("thief first %t, replay after %v", thiefFirst, after), func(t *testing.T) {
				var list SessionList
				d := signIn(t, &list, tokenTime, SessionPolicy{Grace: 10 * time.Second})
				held := []RefreshToken{d.token, d.token}
				first, second := 0, 1
				if thiefFirst {
					first, second = 1, 0
				}
				held[first] = d.mustRotate(held[first], tokenTime)
				now := tokenTime.Add(after)
				if after > 10*time.Second {
					if _, err := d.rotate(held[second], now); !errors.Is(err, ErrTokenReused) || len(list) != 0 {
						t.Fatalf("replay after grace: %v; %d sessions", err, len(list))
					}
					return
				}
				d.converges(held[second], now, held[first])
				held[second] = held[first]
				// From now on each rotates daily, some hours apart.
				rotations := 0
				for n := 1; n < 29; n++ {
					for turn, who := range []int{first, second} {
						now = tokenTime.Add(time.Duration(n)*day + time.Duration(turn)*3*time.Hour)
						token, err := d.rotate(held[who], now)
						if err != nil {
							if !errors.Is(err, ErrTokenReused) || rotations != 1 || len(list) != 0 {
								t.Fatalf("after %d rotations: %v; %d sessions", rotations, err, len(list))
							}
							return
						}
						held[who] = token
						rotations++
					}
				}
				t.Fatal("both went on for 29 days")
			})
		}
	}
}

func TestExpiredAndUnknownTokensChangeNothing(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour}
	var list, elsewhere SessionList
	d := signIn(t, &list, tokenTime, policy)
	list = append(list, "written by hand", strings.Repeat("x", len(list[0])))
	foreign := signIn(t, &elsewhere, tokenTime, policy)

	d.refused(foreign.token, tokenTime, ErrTokenInvalid)
	d.refused(madeUp(randomText(16)), tokenTime, ErrTokenInvalid)
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
	id := d.token.SessionID().String()
	raw, err := base64url.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{string(raw), id[:16], id[6:], list[0][entry.Expires+entry.TimeLen+1:][:16], strings.Repeat("\x00", 16)} {
		d.refused(madeUp(secret), tokenTime, ErrTokenInvalid)
	}
	has(t, list, tokenTime, true, d.token)
}

// madeUp is a token of the account with a family secret that is given and a secret that is not stored.
func madeUp(familySecret string) RefreshToken {
	return mintToken(ownerOfList, familySecret, randomText(32), entry.Terms{Expires: entry.MaxMillis, Absolute: entry.MaxMillis})
}

// A token of the session whose own secret was altered proves that somebody holds a copy.
func TestRightSessionWithAWrongTokenSecretIsReuse(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	if _, err := d.rotate(madeUp(d.token.familySecret()), tokenTime); !errors.Is(err, ErrTokenReused) {
		t.Errorf("rotate: %v", err)
	}
	has(t, list, tokenTime, false, d.token)
}

// What a token says of its terms finds its entry, and decides nothing: those that are stored do.
func TestALongerLifeCannotBeWrittenIntoAToken(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour, Absolute: 2 * time.Hour}
	var list SessionList
	d := signIn(t, &list, tokenTime, policy)
	honest := d.token.terms()
	for name, alter := range map[string]func(*entry.Terms){
		"expires":  func(t *entry.Terms) { t.Expires = entry.MaxMillis },
		"absolute": func(t *entry.Terms) { t.Absolute = entry.MaxMillis },
		"issued":   func(t *entry.Terms) { t.Issued = 0 },
		"links": func(t *entry.Terms) {
			t.Links = []entry.Link{{End: entry.MaxMillis, Salt: randomText(entry.SaltBytes)}}
		},
		"label": func(t *entry.Terms) { t.Label = "another" },
	} {
		claimed := honest
		alter(&claimed)
		claimed.Expires = max(claimed.Expires, honest.Expires)
		forged, err := ParseRefreshToken(d.token.with(d.token.secret(), claimed).Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if live := forged.Entry(); slices.Contains(list, live) {
			t.Errorf("%s: the altered token has the entry %q", name, live)
		}
		stored := list
		next := d.mustRotate(forged, tokenTime).terms()
		if next.Absolute != honest.Absolute || next.Expires != honest.Expires || next.Issued != honest.Issued || len(next.Links) != 1 || next.Label != "" {
			t.Errorf("%s: the successor has the terms %+v", name, next)
		}
		list = stored
		d.refused(forged, tokenTime.Add(time.Hour), map[bool]Kind{true: ErrTokenInvalid, false: ErrTokenExpired}[name == "expires"])
	}
}

// A store that finds the entry in the list need not read the list.
func TestALiveTokenTellsWhatRotateDoes(t *testing.T) {
	var list SessionList
	bystander := signIn(t, &list, tokenTime, SessionPolicy{})
	d := signIn(t, &list, tokenTime, SessionPolicy{Label: "Firefox on Linux, Bogotá"})
	token := d.token
	for i := range 3 * MaxGraceRotations {
		now := tokenTime.Add(time.Duration(i) * time.Second)
		policy := SessionPolicy{Grace: time.Duration(1+i%7) * 10 * time.Second}
		next, replaced := successorOf(t, token, now, policy)
		list2, rotated, err := list.Rotate(token, now, policy)
		if err != nil || !slices.Equal(list, SessionList{bystander.token.Entry(), token.Entry()}) {
			t.Fatalf("list %q, %v", list, err)
		}
		if next == token.Entry() {
			if rotated != token || replaced != token || !slices.Equal(list2, list) {
				t.Fatal("Rotate has a replacement")
			}
			continue
		}
		// Only the salts differ, which are random.
		got, ok := entry.Parse(list2[1])
		want, _ := entry.Parse(next)
		got.Digest, want.Digest = "", ""
		got.Links[len(got.Links)-1].Salt, want.Links[len(want.Links)-1].Salt = "", ""
		if !ok || len(list2) != 2 || list2[0] != list[0] || rotated.Entry() != list2[1] || !reflect.DeepEqual(got, want) {
			t.Fatalf("replacement %q; list %q", next, list2)
		}
		list, token = list2, rotated
	}
}

// Nothing that is stored leads to a token, not even together with the source code: each stored value is tried as each part.
func TestADumpYieldsNoToken(t *testing.T) {
	var list SessionList
	var dumps []SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{Label: "Firefox"})
	dumps = append(dumps, list)
	token := d.token
	for i := range 4 {
		token = d.mustRotate(token, tokenTime.Add(time.Duration(i)*time.Second))
		dumps = append(dumps, list)
	}
	now := tokenTime.Add(5 * time.Second)
	tried := 0
	for _, dump := range dumps {
		e, _ := entry.Parse(dump[0])
		values := []string{dump[0], e.Session, e.Digest}
		for _, encoded := range []string{e.Session, e.Digest} {
			raw, err := base64url.DecodeString(encoded)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, string(raw))
		}
		for _, l := range e.Links {
			values = append(values, l.Salt)
		}
		for _, secret := range slices.Clone(values) {
			for _, l := range e.Links {
				values = append(values, successorSecret(pad(secret, 32), l.Salt))
			}
		}
		for _, family := range values {
			for _, secret := range values {
				forged := mintToken(ownerOfList, pad(family, 16), pad(secret, 32), e.Terms)
				d.refused(forged, now, ErrTokenInvalid)
				tried++
			}
		}
	}
	if has(t, list, now, true, token); tried < 100 {
		t.Errorf("%d tokens were tried", tried)
	}
}

// pad returns the first n bytes of a text, with zeros after it if it is shorter.
func pad(text string, n int) string { return (text + strings.Repeat("\x00", n))[:n] }

func TestAbsoluteExpiryHoldsThoughIdleExpirySlides(t *testing.T) {
	policy := SessionPolicy{Idle: 10 * time.Hour, Absolute: 24 * time.Hour, Grace: NoGrace}
	var list SessionList
	d := signIn(t, &list, tokenTime, policy)
	end := tokenTime.Truncate(time.Millisecond).Add(24 * time.Hour).UTC()
	token := d.token
	d.policy.Absolute = 1000 * time.Hour // of no effect on a session that exists
	for hour := 1; hour < 24; hour++ {
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
	if strings.Contains(string(shown), d.token.Digest()) || !strings.Contains(string(shown), d.token.SessionID().String()) {
		t.Errorf("listed: %s", shown)
	}
}

func TestRevoking(t *testing.T) {
	var list SessionList
	var ids []SessionID
	for range 3 {
		d := signIn(t, &list, tokenTime, SessionPolicy{})
		d.mustRotate(d.token, tokenTime)
		ids = append(ids, d.token.SessionID())
	}
	unknown := issueToken(t, ownerOfList, tokenTime, SessionPolicy{}).SessionID()
	left := func(list SessionList) (left []SessionID) {
		for _, s := range list.Sessions(tokenTime) {
			left = append(left, s.ID)
		}
		if len(list) != len(left) {
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

func TestExpiredEntriesVanishWhenTheListIsGoneThrough(t *testing.T) {
	policy := SessionPolicy{Idle: time.Hour}
	var list SessionList
	d := signIn(t, &list, tokenTime, policy)
	d.mustRotate(d.token, tokenTime)
	now := tokenTime.Add(time.Hour)
	live := signIn(t, &SessionList{}, now, policy)
	stale := append(slices.Clone(list), "written by hand", "", strings.Repeat("é", 60), (*live.list)[0])
	if got := stale.Sessions(now); len(got) != 1 || got[0].ID != live.token.SessionID() {
		t.Errorf("%d sessions, want the one not expired", len(got))
	}
	rotated, _, err := stale.Rotate(live.token, now, noGrace)
	if err != nil {
		t.Fatal(err)
	}
	issued, _ := mustIssue(t, stale, ownerOfList, now, policy)
	issuedFull, _ := mustIssue(t, stale, ownerOfList, now, SessionPolicy{Cap: 5})
	for name, test := range map[string]struct {
		list SessionList
		want int
	}{
		"issue":         {issued, 6},
		"issue, full":   {issuedFull, 2},
		"rotate":        {rotated, 5},
		"revoke":        {stale.Revoke(live.token.SessionID(), now), 0},
		"revoke others": {stale.RevokeOthers(live.token.SessionID(), now), 1},
		"prune":         {stale.Prune(now), 1},
	} {
		if len(test.list) != test.want || test.list == nil {
			t.Errorf("%s left %q, want %d entries in a list that is not null", name, test.list, test.want)
		}
	}
}

func TestRotationsInGraceStayBounded(t *testing.T) {
	var list SessionList
	bystander := signIn(t, &list, tokenTime, SessionPolicy{})
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	tokens := []RefreshToken{d.token}
	for i := range MaxGraceRotations {
		tokens = append(tokens, d.mustRotate(tokens[i], tokenTime.Add(time.Duration(i)*time.Second)))
	}
	live := tokens[MaxGraceRotations]
	for range 10 {
		for _, token := range tokens {
			d.converges(token, tokenTime.Add(30*time.Second), live)
		}
	}
	if len(live.Reveal()) > 2*len(d.token.Reveal())+16*30 || len(list) != 2 || len(list[1]) != 107+MaxGraceRotations*31+1 {
		t.Errorf("a token of %d characters, an entry of %d", len(live.Reveal()), len(list[1]))
	}
	now := tokenTime.Add(DefaultSessionGrace) // the first of them is over
	next := d.mustRotate(live, now)
	if next == live {
		t.Error("no rotation after grace")
	}
	d.converges(tokens[1], now, next)
	has(t, list, now, true, next, bystander.token)
}

func TestLabels(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{Label: "  Firefox on Linux, Bogota\u0301. "})
	const label = "Firefox on Linux, Bogotá."
	if got := list.Sessions(tokenTime)[0].Label; got != label || d.token.Session().Label != label {
		t.Errorf("label %q and %q", got, d.token.Session().Label)
	}
	next := d.mustRotate(d.token, tokenTime)
	if got := next.Session().Label; got != label {
		t.Errorf("after a rotation: label %q", got)
	}
	d.policy.Label = strings.Repeat("é", 120)
	d.converges(d.token, tokenTime, next) // a replay changes nothing
	next = d.mustRotate(next, tokenTime)
	parsed, err := ParseRefreshToken(next.Reveal())
	if s := list.Sessions(tokenTime)[0]; err != nil || s.Label != d.policy.Label || parsed.Session() != s {
		t.Errorf("after a rotation with a label: %+v, %v", s, err)
	}
	for _, bad := range []string{strings.Repeat("é", 121), "a\x00b", "a\nb", "\xff", "a\u0085b"} {
		var e *Error
		if _, err := (SessionPolicy{Label: bad}).Resolve(); !errors.As(err, &e) || e.Kind != ErrInvalid || e.Field != "label" {
			t.Errorf("label %q: %v", bad, err)
		}
		forged := next.terms()
		forged.Label = bad
		if _, err := ParseRefreshToken(next.with(next.secret(), forged).Reveal()); !errors.Is(err, ErrTokenInvalid) {
			t.Errorf("a token with the label %q: %v", bad, err)
		}
	}
}

// A few tabs that share one token, time and again, are never signed out, and always hold one token.
func TestFourTabsRotateOneTokenFortyTimes(t *testing.T) {
	var list SessionList
	d := signIn(t, &list, tokenTime, SessionPolicy{})
	shared := d.token
	for i := range 40 {
		now := tokenTime.Add(time.Duration(i) * 5 * time.Second)
		next := d.mustRotate(shared, now)
		for range 3 {
			d.converges(shared, now, next)
		}
		shared = next
	}
	has(t, list, tokenTime, true, shared)
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
			_, _, issueErr := SessionList{}.Issue(ownerOfList, tokenTime, policy)
			token := issueToken(t, ownerOfList, tokenTime, SessionPolicy{})
			_, _, rotateErr := SessionList{token.Entry()}.Rotate(token, tokenTime, policy)
			_, policyErr := policy.Resolve()
			for _, err := range []error{policyErr, issueErr, rotateErr} {
				var refusal *Error
				if field == "" && err != nil || field != "" && (!errors.As(err, &refusal) || refusal.Field != field || refusal.Kind != ErrInvalid) {
					t.Errorf("%+v: %v, want the field %q", policy, err, field)
				}
			}
		}
	}
}

func TestTwentySessionsFitInARow(t *testing.T) {
	var list SessionList
	for range DefaultSessionCap {
		d := signIn(t, &list, tokenTime, SessionPolicy{Label: strings.Repeat("x", 40)})
		d.mustRotate(d.token, tokenTime)
	}
	stored, err := json.Marshal([]string(list))
	if err != nil {
		t.Fatal(err)
	}
	const want = 1 + 20*(179+3) // quotes and commas
	if len(list) != DefaultSessionCap || len(stored) != want {
		t.Errorf("%d entries in %d bytes, want %d", len(list), len(stored), want)
	}
}

// What follows tells the rules once more, with objects and numbers instead of strings, and compares.

type modelToken struct {
	token    RefreshToken
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
	label    string
	live     *modelToken
	retired  []modelRetired // those that can lead to the live one, in the order in which they were retired
}

// machine drives a list and a model of it with the same calls.
type machine struct {
	list     SessionList
	clock    int64 // Unix milliseconds
	families []*modelFamily
	all      []*modelToken // every token that there ever was, those of ended sessions too
}

func (m *machine) now() time.Time { return time.UnixMilli(m.clock) }

func (m *machine) alive(f *modelFamily) bool { return f.live.expires > m.clock }

// signedIn returns the families with a live token, the oldest first.
func (m *machine) signedIn() []*modelFamily {
	families := slices.DeleteFunc(slices.Clone(m.families), func(f *modelFamily) bool { return !m.alive(f) })
	slices.SortFunc(families, func(a, b *modelFamily) int {
		return cmp.Or(cmp.Compare(a.issued, b.issued), cmp.Compare(a.live.sequence, b.live.sequence))
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

// write forgets what has expired, which happens when a list is gone through and not before: clocks may run backwards.
func (m *machine) write() {
	m.families = slices.DeleteFunc(m.families, func(f *modelFamily) bool { return !m.alive(f) })
}

// mint expects the token to be the new live one of the family.
func (m *machine) mint(t *rapid.T, token RefreshToken, f *modelFamily, rotated int64, policy SessionPolicy) {
	f.live = &modelToken{
		token: token, sequence: len(m.all), rotated: rotated,
		expires: min(m.clock+millisOr(policy.Idle, 14*24*3600*1000), f.absolute),
	}
	f.label = cmp.Or(policy.Label, f.label)
	m.all = append(m.all, f.live)
	if token.SessionID() != f.id || token.UserID() != ownerOfList || token.Session() != f.session() {
		t.Fatalf("the new token says %+v, want %+v", token.Session(), f.session())
	}
}

func (f *modelFamily) session() Session {
	return Session{
		ID: f.id, Label: f.label, IssuedAt: time.UnixMilli(f.issued).UTC(), RotatedAt: time.UnixMilli(f.live.rotated).UTC(),
		ExpiresAt: time.UnixMilli(f.live.expires).UTC(), AbsoluteExpiry: time.UnixMilli(f.absolute).UTC(),
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
		Grace:    millis("grace", 0, 0, 500, 30, 1),
		Label:    rapid.SampledFrom([]string{"", "", "", "Firefox", "é."}).Draw(t, "label"),
	}
	if seldom(t, "no grace") {
		policy.Grace = NoGrace
	}
	return policy
}

func (m *machine) issue(t *rapid.T) {
	policy := drawPolicy(t)
	full := len(m.list) >= cmp.Or(policy.Cap, 20)
	list, token, err := m.list.Issue(ownerOfList, m.now(), policy)
	if err != nil {
		t.Fatal(err)
	}
	m.list = list

	if full {
		m.write()
	}
	f := &modelFamily{id: token.SessionID(), issued: m.clock, absolute: m.clock + millisOr(policy.Absolute, 30*24*3600*1000)}
	for others := m.signedIn(); full && len(others) >= cmp.Or(policy.Cap, 20); others = others[1:] {
		m.end(others[0])
	}
	m.families = append(m.families, f)
	m.mint(t, token, f, m.clock, policy)
}

// present rotates a token; known is what the model knows of it, nil for one that was made up. It returns how it came out: the
// kind of the refusal, "replaced", "converged" or "bounded".
func (m *machine) present(t *rapid.T, token RefreshToken, known *modelToken) Kind {
	policy := drawPolicy(t)
	before := slices.Clone(m.list)
	list, got, err := m.list.Rotate(token, m.now(), policy)
	m.list = list
	unchanged := func(want Kind, token RefreshToken) Kind {
		if KindOf(err) != want || got != token {
			t.Fatalf("rotate: %v, want %q, or not the token that was due", err, want)
		}
		if !slices.Equal(before, m.list) {
			t.Fatal("the list was changed")
		}
		return want
	}

	f := m.find(token.SessionID())
	switch {
	case token.ExpiresAt().UnixMilli() <= m.clock:
		return unchanged(ErrTokenExpired, RefreshToken{})
	case f == nil:
		return unchanged(ErrTokenInvalid, RefreshToken{})
	}
	retired := slices.IndexFunc(f.retired, func(r modelRetired) bool { return r.modelToken == known })
	switch {
	case known == f.live:
		if policy.Grace == NoGrace {
			f.retired = nil
		} else {
			for len(f.retired) > 0 && f.retired[0].until <= m.clock {
				f.retired = f.retired[1:]
			}
			if len(f.retired) == 16 {
				_ = unchanged("", known.token)
				return "bounded"
			}
			f.retired = append(slices.Clone(f.retired), modelRetired{known, min(m.clock+millisOr(policy.Grace, 60_000), known.expires)})
		}
		if err != nil {
			t.Fatalf("rotate: %v", err)
		}
		m.mint(t, got, f, max(m.clock, known.rotated+1), policy)
		return "replaced"
	case retired >= 0 && f.retired[retired].until > m.clock && policy.Grace != NoGrace:
		_ = unchanged("", f.live.token)
		return "converged"
	default:
		if KindOf(err) != ErrTokenReused {
			t.Fatalf("rotate: %v, want %q", err, ErrTokenReused)
		}
		m.write()
		m.end(f)
		return ErrTokenReused
	}
}

// check compares what the list holds and answers with the model.
func (m *machine) check(t *rapid.T) {
	var got, want []string
	for _, text := range m.list {
		if _, ok := entry.Parse(text); ok { // or it was written by hand since the last write
			got = append(got, text)
		}
	}
	for _, f := range m.families {
		want = append(want, f.live.token.Entry())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("the list holds\n%q, want\n%q", got, want)
	}
	sessions, signedIn := m.list.Sessions(m.now()), m.signedIn()
	if len(sessions) != len(signedIn) {
		t.Fatalf("%d sessions, want %d", len(sessions), len(signedIn))
	}
	for i, f := range signedIn {
		if sessions[i] != f.session() {
			t.Fatalf("session %d is %+v, want %+v", i, sessions[i], f.session())
		}
	}
	for range min(2, len(m.all)) {
		token := rapid.SampledFrom(m.all).Draw(t, "token to look for")
		f := m.find(token.token.SessionID())
		live := f != nil && f.live == token
		session, err := m.list.Find(token.token, m.now())
		if (err == nil) != live || live && session != f.session() {
			t.Fatalf("Find = %+v, %v; want it to be live: %t", session, err, live)
		}
	}
}

// recent draws a token, the latest ones more often.
func (m *machine) recent(t *rapid.T) *modelToken {
	if len(m.all) == 0 {
		t.Skip("no token yet")
	}
	return m.all[len(m.all)-1-rapid.IntRange(0, len(m.all)-1).Draw(t, "token's age")]
}

func (m *machine) actions(outcomes map[Kind]int) map[string]func(*rapid.T) {
	stranger := mintToken(NewID(), randomText(16), randomText(32), entry.Terms{Expires: entry.MaxMillis, Absolute: entry.MaxMillis})
	present := func(t *rapid.T, token RefreshToken, known *modelToken) Kind {
		outcome := m.present(t, token, known)
		outcomes[outcome]++
		return outcome
	}
	live := func(t *rapid.T) *modelFamily {
		signedIn := m.signedIn()
		if len(signedIn) == 0 {
			t.Skip("no one is signed in")
		}
		return rapid.SampledFrom(signedIn).Draw(t, "session")
	}
	return map[string]func(*rapid.T){
		"":      m.check,
		"issue": m.issue,
		"rotate a live token": func(t *rapid.T) {
			f := live(t)
			_ = present(t, f.live.token, f.live)
		},
		"rotate a live token time and again": func(t *rapid.T) {
			f := live(t)
			for range 20 {
				_ = present(t, f.live.token, f.live)
			}
		},
		"present any token": func(t *rapid.T) {
			known := m.recent(t)
			_ = present(t, known.token, known)
		},
		"replay a retired token many times": func(t *rapid.T) {
			f := live(t)
			if len(f.retired) == 0 {
				t.Skip("no token was retired")
			}
			known := rapid.SampledFrom(f.retired).Draw(t, "token").modelToken
			for range rapid.SampledFrom([]int{1, 2, 20}).Draw(t, "times") {
				_ = present(t, known.token, known)
			}
		},
		"present a token made up from a session's id": func(t *rapid.T) {
			_ = present(t, madeUp(m.recent(t).token.SessionID().String()[:16]), nil)
		},
		"present a wrong secret within a session": func(t *rapid.T) {
			if !seldom(t, "end a session") {
				t.Skip("much of it would leave little to do for the others")
			}
			_ = present(t, madeUp(m.recent(t).token.familySecret()), nil)
		},
		"present another account's token": func(t *rapid.T) { _ = present(t, stranger, nil) },
		"revoke": func(t *rapid.T) {
			if !seldom(t, "end a session") {
				t.Skip("much of it would leave little to do for the others")
			}
			m.revoke(m.recent(t).token.SessionID(), SessionList.Revoke, func(f *modelFamily, id SessionID) bool { return f.id == id })
		},
		"revoke others": func(t *rapid.T) {
			if !seldom(t, "end the other sessions") {
				t.Skip("much of it would leave little to do for the others")
			}
			m.revoke(m.recent(t).token.SessionID(), SessionList.RevokeOthers, func(f *modelFamily, id SessionID) bool { return f.id != id })
		},
		"prune": func(*rapid.T) {
			m.list = m.list.Prune(m.now())
			m.write()
		},
		"wait": func(t *rapid.T) {
			m.clock += rapid.SampledFrom([]int64{1, 5, 29, 100, -1, -20}).Draw(t, "ms")
			if seldom(t, "long") {
				m.clock += rapid.SampledFrom([]int64{900, 61_000, 15 * 24 * 3600 * 1000}).Draw(t, "ms")
			}
		},
		"hand writes": func(t *rapid.T) {
			m.list = append(slices.Clone(m.list), rapid.StringN(0, 120, -1).Draw(t, "text"))
		},
	}
}

func (m *machine) revoke(
	id SessionID, revoke func(SessionList, SessionID, time.Time) SessionList, ended func(*modelFamily, SessionID) bool,
) {
	m.list = revoke(m.list, id, m.now())
	if slices.ContainsFunc(m.families, func(f *modelFamily) bool { return ended(f, id) }) {
		m.families = slices.DeleteFunc(m.families, func(f *modelFamily) bool { return ended(f, id) })
		m.write()
	}
}

// steps is how many steps a machine takes: few, or with ACCOUNTS_TEST_LONG=1 many.
func steps(few, many int) int {
	if os.Getenv("ACCOUNTS_TEST_LONG") == "1" {
		return many
	}
	return few
}

func TestSessionListObeysItsModel(t *testing.T) {
	if testing.Short() {
		t.Skip("it sees nothing of the schema")
	}
	wantSteps := steps(10_000, 1_000_000)
	if err := flag.Set("rapid.steps", "250"); err != nil { // a session's life is longer than rapid's 30
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.steps", "30") })
	taken, outcomes := 0, make(map[Kind]int)
	for taken < wantSteps && !t.Failed() {
		rapid.Check(t, func(t *rapid.T) {
			m := &machine{clock: tokenTime.UnixMilli()}
			actions := m.actions(outcomes)
			check := actions[""]
			actions[""] = func(t *rapid.T) { taken++; check(t) }
			t.Repeat(actions)
		})
	}
	t.Logf("%d steps; outcomes of rotations: %v", taken, outcomes)
	for _, outcome := range []Kind{"replaced", "converged", "bounded", ErrTokenExpired, ErrTokenInvalid, ErrTokenReused} {
		if outcomes[outcome] < wantSteps/200 {
			t.Errorf("only %d rotations came out as %q: the model saw too few", outcomes[outcome], outcome)
		}
	}
}
