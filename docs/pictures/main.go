// Command pictures writes the pictures of the documentation: go generate ./docs/pictures
//
// The entity diagram is drawn from the tables that ent generates. The other two are drawn from the tables below; a test looks up in
// the source what they name.
package main

import (
	"fmt"
	"log"
	"os"
)

//go:generate go run .

func main() {
	log.SetFlags(0)
	for name, text := range pictures() {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // a file of the repository
			log.Fatal("pictures: ", err)
		}
	}
}

// pictures returns each file with its content.
func pictures() map[string]string {
	return map[string]string{
		"entities.svg":  entities(),
		"session.svg":   session.draw(),
		"statement.svg": statement.draw(),
	}
}

// session is the life of a session and of its tokens, as docs/sessions.md has it.
var session = diagram{
	title: "The life of a session",
	description: "IssueToken begins a session with one live token. RotateToken replaces it by its successor and retires it. A retired token that is " +
		"presented within the grace interval gets the live token. Presented later it ends the session. Limits, revoking, and changes of the account end it too.",
	width: 860, height: 420,
	boxes: []box{
		{id: "start", x: 24, y: 124, w: 96, h: 56, style: "start", lines: []string{"signed in"}},
		{id: "session", x: 230, y: 24, w: 360, h: 256, style: "group", heading: "session: one sign-in on one device"},
		{id: "live", x: 260, y: 116, w: 120, h: 72, style: "good", lines: []string{"live token", "exactly one"}},
		{id: "retired", x: 446, y: 116, w: 120, h: 72, style: "plain", lines: []string{"retired token", "within grace"}},
		{id: "expired", x: 700, y: 56, w: 136, h: 64, style: "warn", lines: []string{"expired", "token_expired"}},
		{id: "ended", x: 700, y: 244, w: 136, h: 64, style: "bad", lines: []string{"ended", "token_invalid"}},
	},
	arrows: []arrow{
		{from: "start", to: "live", points: []point{{120, 152}, {260, 152}}, at: point{176, 144}, lines: []string{"IssueToken"}},
		{from: "live", to: "retired", points: []point{{320, 116}, {320, 88}, {506, 88}, {506, 116}}, at: point{413, 80}, lines: []string{"RotateToken: its successor is live"}},
		{from: "retired", to: "live", points: []point{{506, 188}, {506, 216}, {320, 216}, {320, 188}}, at: point{413, 232}, lines: []string{"RotateToken again: the live token,", "nothing is written"}},
		{from: "session", to: "expired", points: []point{{590, 88}, {700, 88}}, at: point{644, 64}, lines: []string{"idle or", "absolute limit"}},
		{from: "session", to: "ended", points: []point{{590, 260}, {700, 260}}, at: point{644, 236}, lines: []string{"reuse after", "grace"}},
		{from: "expired", to: "ended", points: []point{{768, 120}, {768, 244}}, at: point{768, 176}, lines: []string{"SweepSessions"}, clear: true},
		{from: "session", to: "ended", points: []point{{410, 280}, {410, 352}, {768, 352}, {768, 308}}, at: point{410, 372}, lines: []string{
			"RevokeSession, RevokeOtherSessions, RevokeSessions, RevokeMany, RevokeEverybody;",
			"the password is changed or reset, the account is deactivated or deleted, a newer session at the cap"}},
	},
}

// statement is the way of a statement through the packages, and of its result back.
var statement = diagram{
	title: "The way of a statement",
	description: "The application calls domain.Authenticator or infra.Store. The store takes a prebuilt text or builds one, in the words of the dialect, " +
		"and sends it by the package of a driver. The mapper turns a row into an account, the fault package an error of the driver into one of the domain.",
	width: 860, height: 500,
	boxes: []box{
		{id: "application", x: 24, y: 24, w: 812, h: 48, style: "start", lines: []string{"your application"}},
		{id: "authenticator", x: 24, y: 120, w: 230, h: 64, style: "plain", mono: true, lines: []string{"domain.Authenticator", "checks, counts, issues"}},
		{id: "password", x: 24, y: 224, w: 230, h: 64, style: "plain", mono: true, lines: []string{"infra/password", "hashes and verifies"}},
		{id: "infra", x: 306, y: 104, w: 530, h: 232, style: "group", heading: "infra: names no driver"},
		{id: "store", x: 326, y: 140, w: 230, h: 64, style: "good", mono: true, lines: []string{"infra.Store, infra.Tx", "one method, one statement"}},
		{id: "hook", x: 596, y: 140, w: 220, h: 64, style: "plain", mono: true, lines: []string{"infra/hook.go", "events, in the transaction"}},
		{id: "text", x: 326, y: 252, w: 230, h: 64, style: "plain", mono: true, lines: []string{"infra/statements.go", "prebuilt SQL, per dialect"}},
		{id: "mapper", x: 596, y: 252, w: 220, h: 64, style: "plain", mono: true, lines: []string{"infra/mapper.go", "rows to domain.User, and back"}},
		{id: "postgres", x: 24, y: 376, w: 190, h: 48, style: "plain", mono: true, lines: []string{"infra/postgres"}},
		{id: "pgx", x: 231, y: 376, w: 190, h: 48, style: "plain", mono: true, lines: []string{"infra/pgx"}},
		{id: "sqlite", x: 438, y: 376, w: 190, h: 48, style: "plain", mono: true, lines: []string{"infra/sqlite"}},
		{id: "fault", x: 646, y: 376, w: 190, h: 48, style: "plain", mono: true, lines: []string{"infra/internal/fault"}},
	},
	arrows: []arrow{
		{from: "application", to: "authenticator", points: []point{{139, 72}, {139, 120}}, at: point{139, 102}, lines: []string{"sign-in, passwords, mail"}, clear: true},
		{from: "application", to: "store", points: []point{{441, 72}, {441, 140}}, at: point{441, 94}, lines: []string{"everything else"}, clear: true},
		{from: "authenticator", to: "password", points: []point{{139, 184}, {139, 224}}},
		{from: "authenticator", to: "store", points: []point{{254, 160}, {326, 160}}},
		{from: "store", to: "hook", points: []point{{556, 172}, {596, 172}}},
		{from: "store", to: "text", points: []point{{441, 204}, {441, 252}}},
		{from: "mapper", to: "store", points: []point{{706, 252}, {706, 228}, {500, 228}, {500, 204}}},
		{from: "text", to: "driver", points: []point{{441, 316}, {441, 356}, {326, 356}, {326, 376}}},
		{from: "text", to: "driver", points: []point{{441, 356}, {119, 356}, {119, 376}}},
		{from: "text", to: "driver", points: []point{{441, 356}, {533, 356}, {533, 376}}},
		{from: "fault", to: "mapper", points: []point{{741, 376}, {741, 336}}, at: point{686, 360}, lines: []string{"errors get a kind"}},
		{from: "postgres", to: "database", points: []point{{119, 424}, {119, 452}}, at: point{119, 472}, lines: []string{"lib/pq, prepared once", "per connection"}},
		{from: "pgx", to: "database", points: []point{{326, 424}, {326, 452}}, at: point{326, 472}, lines: []string{"pgx, and its pool"}},
		{from: "sqlite", to: "database", points: []point{{533, 424}, {533, 452}}, at: point{533, 472}, lines: []string{"modernc SQLite: one writer,", "several readers"}},
	},
}

// label is text in the middle of a place.
func label(class string, x, y int, text string) string {
	return fmt.Sprintf("<text class=%q x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", class, x, y, escape(text))
}
