package infra

import (
	"fmt"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// statements are the fixed texts, filled in once for a database and a schema. The comment of each lists its arguments. All that
// change one account and return it have the ID as their last.
type statements struct {
	find   map[string]string // by a unique column; its value
	exists map[string]string // likewise

	create       string // rowValues
	delete       string // the ID
	signIn       string // now, now
	setEmail     string // the address six times, now
	setUsername  string // the name, now
	setNames     string // the first, the last, now
	setPhone     string // the number, now
	activate     string // now
	deactivate   string // now
	verify       string // now
	unlock       string // now
	failure      string // the attempts that lock, the end of the lock, now, now, the ID
	success      string // now, the next hash, now, the ID, the checked hash, now
	setPassword  string // the hash, now
	setKeeping   string // the hash, now, the session to keep, now
	issueReset   string // the digest, its expiry, now
	issueVerify  string // the digest, its expiry, now
	consumeReset string // the hash, now, the digest, now
	confirm      string // now, the digest, now

	changePassword string // those of setPassword, the ID, the checked hash
	changeKeeping  string // those of setKeeping, the ID, the checked hash

	issueToken    string // those of issued, now, the ID
	rotateToken   string // those of rotated, now, the ID, now, the session
	hasToken      string // the ID, now, the session and digest
	revoke        string // now, the session, now
	revokeOthers  string // now, the session to keep, now
	revokeAll     string // now
	countSessions string // now
	sessionCounts string // now, the ID to begin after, the limit
	nextIDs       string // the ID to begin after, the limit
	sweep         string // now, now, the ID to begin after, the last ID, now

	storedIDs     string // the list of IDs
	createStaging string
	insertStaged  string
	stagedHolders string
}

// Parts of statements.
const (
	edited    = ", version = version + 1, updated_at = ?"
	returning = " WHERE id = ? RETURNING {columns}"
	notLocked = "(locked_until IS NULL OR locked_until <= ?)"
	noTokens  = "reset_token = NULL, reset_token_expiry = NULL, verification_token = NULL, verification_token_expiry = NULL"
	unlocked  = "failed_login_attempts = 0, locked_until = NULL"
	verified  = "is_verified = true, verification_token = NULL, verification_token_expiry = NULL"
	password  = "hashed_password = ?, " + noTokens + ", " + unlocked
)

func insertUsers(names []string) string {
	return "INSERT INTO {users} (" + strings.Join(names, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) + ")"
}

func newStatements(d *dialect, schema string) *statements {
	fill := func(parts ...string) string { return d.fill(schema, strings.Join(parts, "")) }
	// A lock that is stored here has ended, for the statement matches no other: its failures do not count any more.
	const attempts = "CASE WHEN locked_until IS NULL THEN failed_login_attempts + 1 ELSE 1 END"
	ifOther := func(column, value string) string {
		return column + " = CASE WHEN email = ? THEN " + column + " ELSE " + value + " END"
	}
	s := &statements{
		find:   make(map[string]string),
		exists: make(map[string]string),

		create: fill(insertUsers(columnNames())),
		delete: fill("DELETE FROM {users} WHERE id = ?"),
		signIn: fill("UPDATE {users} SET last_login = ?", edited, returning),
		setEmail: fill("UPDATE {users} SET email = ?, ", ifOther("is_verified", "false"), ", ", ifOther("reset_token", "NULL"), ", ",
			ifOther("reset_token_expiry", "NULL"), ", ", ifOther("verification_token", "NULL"), ", ",
			ifOther("verification_token_expiry", "NULL"), edited, returning),
		setUsername: fill("UPDATE {users} SET username = ?", edited, returning),
		setNames:    fill("UPDATE {users} SET first_name = ?, last_name = ?", edited, returning),
		setPhone:    fill("UPDATE {users} SET phone = ?", edited, returning),
		activate:    fill("UPDATE {users} SET is_active = true", edited, returning),
		deactivate:  fill("UPDATE {users} SET is_active = false, refresh_tokens = '[]'", edited, returning),
		verify:      fill("UPDATE {users} SET ", verified, edited, returning),
		unlock:      fill("UPDATE {users} SET ", unlocked, edited, returning),
		failure: fill("UPDATE {users} SET failed_login_attempts = ", attempts, ", locked_until = CASE WHEN ", attempts, " >= ? THEN {time} END", edited,
			" WHERE id = ? AND ", notLocked, " RETURNING {columns}"),
		success: fill("UPDATE {users} SET last_login = ?, hashed_password = ?, ", unlocked, edited,
			" WHERE id = ? AND hashed_password = ? AND is_active AND ", notLocked, " RETURNING {columns}"),
		setPassword: fill("UPDATE {users} SET ", password, ", refresh_tokens = '[]'", edited, returning),
		issueReset:  fill("UPDATE {users} SET reset_token = ?, reset_token_expiry = ?", edited, returning),
		issueVerify: fill("UPDATE {users} SET verification_token = ?, verification_token_expiry = ?", edited, returning),
		consumeReset: fill("UPDATE {users} SET ", password, ", refresh_tokens = '[]'", edited,
			" WHERE reset_token = ? AND reset_token_expiry > ? RETURNING {columns}"),
		confirm: fill("UPDATE {users} SET ", verified, edited, " WHERE verification_token = ? AND verification_token_expiry > ? RETURNING {columns}"),

		issueToken:  fill("UPDATE {users} SET refresh_tokens = ", d.issued(), edited, " WHERE id = ? AND is_active RETURNING {columns}"),
		rotateToken: fill("UPDATE {users} SET refresh_tokens = ", d.rotated(), edited, " WHERE id = ? AND is_active AND ", d.hasEntry("s = ?"), " RETURNING {columns}"),
		hasToken: fill("SELECT 1 FROM {users} WHERE id = ? AND is_active AND ",
			d.hasEntry(substring(domain.EntrySession, domain.EntrySessionLen+1+domain.EntryDigestLen)+" = ?")),
		revoke:       fill("UPDATE {users} SET refresh_tokens = ", d.kept("s <> ?"), edited, returning),
		revokeOthers: fill("UPDATE {users} SET refresh_tokens = ", d.kept("s = ?"), edited, returning),
		revokeAll:    fill("UPDATE {users} SET refresh_tokens = '[]'", edited, returning),
		countSessions: fill("SELECT CAST(coalesce(sum(sessions), 0) AS bigint) FROM (SELECT ", d.liveSessions(),
			" AS sessions FROM {users}) AS counted"),
		sessionCounts: fill("SELECT id, sessions FROM (SELECT id, ", d.liveSessions(),
			" AS sessions FROM {users} WHERE id > ?) AS counted WHERE sessions > 0 ORDER BY id LIMIT ?"),
		nextIDs: fill("SELECT id FROM {users} WHERE id > ? ORDER BY id LIMIT ?"),
		sweep: fill("UPDATE {users} SET refresh_tokens = ", d.kept("true"), edited, " WHERE id > ? AND id <= ? AND EXISTS (SELECT 1 FROM {elements} WHERE NOT (",
			isEntry, " AND ", expiresOf, "{binary} > ?))"),

		storedIDs:     fill(d.storedIDs),
		createStaging: fill("CREATE TEMPORARY TABLE ", staging, " AS SELECT 0 AS ", place, ", {columns} FROM {users} WHERE false"),
		insertStaged: fill("INSERT INTO {users} ({columns}) SELECT {columns} FROM ", staging, " WHERE true ORDER BY ", place,
			" ON CONFLICT DO NOTHING RETURNING id"), // SQLite's grammar needs the WHERE
		stagedHolders: fill("SELECT id, ", heldColumn(), " FROM ", staging, " AS staged"),
	}
	const checked = " WHERE id = ? AND hashed_password = ? RETURNING {columns}"
	s.changePassword = fill("UPDATE {users} SET ", password, ", refresh_tokens = '[]'", edited, checked)
	s.setKeeping = fill("UPDATE {users} SET ", password, ", refresh_tokens = ", d.kept("s = ?"), edited, returning)
	s.changeKeeping = fill("UPDATE {users} SET ", password, ", refresh_tokens = ", d.kept("s = ?"), edited, checked)
	for _, column := range []string{user.FieldID, user.FieldEmail, user.FieldUsername, user.FieldResetToken, user.FieldVerificationToken} {
		s.find[column] = fill(fmt.Sprintf("SELECT {columns} FROM {users} WHERE %s = ?", column))
		s.exists[column] = fill(fmt.Sprintf("SELECT 1 FROM {users} WHERE %s = ?", column))
	}
	return s
}
