package domain

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// theft is an account with one session, whose owner has several tabs that share one store of tokens, and a thief who copies whatever
// token there is. Requests and replies take their time, overtake one another and are lost; each request reaches a server with a
// clock of its own.
type theft struct {
	t        *testing.T
	random   *rand.Rand
	list     SessionList
	clock    time.Time
	jar      RefreshToken // what the owner's tabs share
	behind   time.Time    // since when another token than the one in the jar has been live; zero if none
	requests []*request   // of the owner, under way
	stolen   []RefreshToken
	used     bool // a stolen token was presented
	seen     []RefreshToken
	outcomes map[string]int
}

type request struct {
	sent      time.Time
	presented RefreshToken
	processed bool
	granted   RefreshToken
	err       error
}

const (
	theftGrace    = 10 * time.Second
	theftSkew     = time.Second     // of a server's clock, either way
	theftPatience = 3 * time.Second // after which the owner's client gives up a request, and asks again
)

// rotate is what a server does.
func (x *theft) rotate(token RefreshToken) (RefreshToken, error) {
	now := x.clock.Add(time.Duration(x.random.Int64N(2*int64(theftSkew))) - theftSkew)
	list, granted, err := x.list.Rotate(token, now, SessionPolicy{Grace: theftGrace})
	if errors.Is(err, ErrTokenExpired) {
		return RefreshToken{}, err
	}
	x.list = list
	if err == nil {
		x.seen = append(x.seen, granted)
	}
	if x.behind.IsZero() && !x.live(x.jar) {
		x.behind = x.clock
	}
	return granted, err
}

func (x *theft) live(token RefreshToken) bool {
	return slices.Contains(x.list, token.Entry())
}

func (x *theft) signIn() {
	x.list, x.jar = mustIssue(x.t, x.list.Revoke(x.jar.SessionID(), x.clock), ownerOfList, x.clock, SessionPolicy{})
	x.behind, x.requests, x.stolen, x.used = time.Time{}, nil, nil, false
	x.seen = []RefreshToken{x.jar}
}

func (x *theft) send() *request {
	r := &request{sent: x.clock, presented: x.jar}
	x.requests = append(x.requests, r)
	return r
}

func (x *theft) process(r *request) {
	if !r.processed {
		r.processed = true
		r.granted, r.err = x.rotate(r.presented)
	}
}

// deliver ends a request with its reply. The client keeps the token that was made last.
func (x *theft) deliver(r *request) {
	x.requests = slices.DeleteFunc(x.requests, func(other *request) bool { return other == r })
	switch {
	case r.err == nil:
		if r.granted.Session().RotatedAt.After(x.jar.Session().RotatedAt) {
			x.jar = r.granted
		}
		if x.live(x.jar) {
			x.behind = time.Time{}
		}
	case x.used: // the owner is logged out, and knows that something is wrong
		x.outcomes["owner logged out after a theft"]++
		x.signIn()
	case errors.Is(r.err, ErrTokenExpired):
		x.outcomes["session expired"]++
		x.signIn()
	default:
		x.t.Fatalf("the owner, who is alone, is logged out: %v", r.err)
	}
}

// wait lets time pass; what a client would not wait for any longer is over first.
func (x *theft) wait(d time.Duration) {
	for _, r := range slices.Clone(x.requests) {
		if x.clock.Add(d).Sub(r.sent) > theftPatience {
			x.requests = slices.DeleteFunc(x.requests, func(other *request) bool { return other == r })
			x.outcomes["given up"]++
		}
	}
	if !x.behind.IsZero() && x.clock.Add(d).Sub(x.behind) > theftPatience {
		r := x.send()
		x.process(r)
		x.deliver(r)
	}
	x.clock = x.clock.Add(d)
}

func (x *theft) step() {
	one := func() *request { return x.requests[x.random.IntN(len(x.requests))] }
	switch n := x.random.IntN(100); {
	case n < 20 && len(x.requests) < 8:
		x.send()
	case n < 45 && len(x.requests) > 0:
		x.process(one())
	case n < 60 && len(x.requests) > 0:
		if r := one(); r.processed {
			x.deliver(r)
		}
	case n < 65 && len(x.requests) > 0: // the request or its reply is lost
		r := one()
		x.requests = slices.DeleteFunc(x.requests, func(other *request) bool { return other == r })
		x.outcomes["lost"]++
	case n < 90:
		x.wait(time.Duration(x.random.Int64N(int64(300 * time.Millisecond))))
	case n < 92:
		for range 2 { // the owner asks again for what was given up in the first wait
			x.wait(theftPatience + time.Millisecond)
		}
		x.wait(time.Duration(x.random.Int64N(int64(12 * 24 * time.Hour))))
	case n < 93:
		x.stolen = append(x.stolen, x.seen[len(x.seen)-1-x.random.IntN(min(3, len(x.seen)))])
	case n < 95 && len(x.stolen) > 0:
		i := x.random.IntN(len(x.stolen))
		x.used = true
		if granted, err := x.rotate(x.stolen[i]); err == nil {
			x.stolen[i] = granted
		} else {
			x.outcomes["thief refused: "+string(KindOf(err))]++
		}
	case n < 97 && len(x.stolen) > 0 && x.used && len(x.list) > 0:
		x.goOn()
	}
}

// goOn has owner and thief use what they have, each once in each round and all of it beyond grace of the other, until one of them is
// found out.
func (x *theft) goOn() {
	x.requests = nil
	held := []*RefreshToken{&x.jar, &x.stolen[x.random.IntN(len(x.stolen))]}
	rotations := []int{0, 0}
	for round := 0; len(x.list) > 0; round++ {
		for _, who := range x.random.Perm(2) {
			x.clock = x.clock.Add(theftGrace + 2*theftSkew + time.Duration(x.random.Int64N(int64(24*time.Hour))))
			granted, err := x.rotate(*held[who])
			switch {
			case errors.Is(err, ErrTokenExpired): // what has expired proves no theft, and is worth nothing to the thief
				x.outcomes["session expired"]++
				x.signIn()
				return
			case err != nil:
				continue
			}
			*held[who] = granted
			if rotations[who]++; rotations[who] > 1 {
				x.t.Fatalf("in round %d: owner and thief have rotated %v times more beyond grace", round, rotations)
			}
		}
	}
	x.outcomes["both went on, session ended"]++
	x.signIn()
}

func (x *theft) check() {
	live := make(map[RefreshToken]bool)
	tried := make(map[RefreshToken]bool) // some are there many times
	for _, token := range slices.Concat(x.seen, x.stolen, []RefreshToken{x.jar}) {
		if !tried[token] && x.live(token) {
			live[token] = true
		}
		tried[token] = true
	}
	if len(live) > 1 || len(x.list) > 1 {
		x.t.Fatalf("%d live tokens, %d entries", len(live), len(x.list))
	}
	x.seen = slices.Clone(x.seen[max(0, len(x.seen)-8):])
}

func TestTheftIsFoundOutAndTheOwnerAloneIsNeverLoggedOut(t *testing.T) {
	t.Parallel()
	wantSteps := steps(20_000, 1_000_000)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := &theft{t: t, random: rand.New(rand.NewPCG(seed, 0)), clock: tokenTime, outcomes: make(map[string]int)}
	x.signIn()
	for range wantSteps {
		x.step()
		x.check()
	}
	t.Logf("outcomes: %v", x.outcomes)
	for _, outcome := range []string{"owner logged out after a theft", "session expired", "given up", "lost", "thief refused: token_reused", "both went on, session ended"} {
		if x.outcomes[outcome] < wantSteps/10_000 {
			t.Errorf("%q happened %d times: too seldom", outcome, x.outcomes[outcome])
		}
	}
}
