package infra

import (
	"fmt"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/user"
)

// statements are the fixed texts, filled in once for a database and a schema. The comment of each lists its arguments. All that
// change one account and return it have the ID as their last, unless it says otherwise. What would change nothing matches no account.
type statements struct {
	find     map[string]string // by a unique column; its value
	exists   map[string]string // likewise
	lock     map[string]string // likewise, for a change in the same transaction
	lockMany string            // the list of IDs

	create       string // rowValues
	delete       string // the ID
	deleteAt     string // the ID, the version
	signIn       string // now, now, the ID
	setEmail     string // the address, now, the address
	setUsername  string // the name, now, the name
	setNames     string // the first, the last, now, the first, the last
	setPhone     string // the number, now, the number
	activate     string // now
	deactivate   string // now
	verify       string // now
	unlock       string // now
	failure      string // the attempts that lock, the end of the lock, now, now, the ID, now
	lockUntil    string // the end of the lock, now, the end of the lock
	success      string // now, the next hash, now, the ID, the checked hash, now
	setPassword  string // the hash, now
	setKeeping   string // the hash, now, the session to keep, now
	issueReset   string // the digest, its expiry, now
	issueVerify  string // the digest, its expiry, now
	consumeReset string // the hash, now, the digest, now
	confirm      string // now, the digest, now
	requestEmail string // the address, the digest, its expiry, the address, now, the address, the address
	cancelEmail  string // now
	cancelReset  string // now
	cancelVerify string // now
	issueCode    string // the digest, its expiry, now
	consumeCode  string // the digest, now, the digest, the digest, now, the ID, now
	cancelCode   string // now

	lockAccount      string
	findByIdentity   string // the issuer, the subject
	identities       string
	link             string // the issuer, the subject, now
	isLinked         string // the issuer, the subject, the ID
	hasIdentity      string
	unlink           string // the issuer, the subject, the ID
	unlinkUnlessLast string // the issuer, the subject, the ID, the ID, the ID, the issuer, the subject
	identitySignIn   string // now, now, the issuer, the subject
	identityUsed     string // now, the issuer, the subject

	changePassword string // those of setPassword, the ID, the checked hash
	changeKeeping  string // those of setKeeping, the ID, the checked hash

	issueToken      string // the new entry, now, the ID, the cap
	rotateToken     string // the live entry, the new one, now, the ID, the live entry
	sessions        string // the ID
	rewriteSessions string // the new list, now, the ID, the list that was read
	revoke          string // now, the session, now, the session
	revokeOthers    string // now, the session to keep, now, the session to keep
	revokeAll       string // now
	countSessions   string // now
	nextIDs         string // the ID to begin after, the limit
	sweep           string // now, now, the ID to begin after, the last ID, now
	revokeEverybody string // now, the ID to begin after, the last ID
	endEverybody    string // those, and now: of the accounts that have live sessions, which it returns

	storedIDs      string            // the list of IDs
	linksOf        string            // the list of IDs
	findMany       map[string]string // by a unique column; the list of its values
	activateMany   string            // now, the list of IDs
	deactivateMany string            // now, the list of IDs
	revokeMany     string            // now, the list of IDs

	enter string // the kind, now, the request, the client, the actor, the list of IDs

	createStaging string
	insertStaged  string
	stagedHolders string
}

// Parts of statements. What people edit raises the version, what the machine keeps books of does not. Behind the greatest version comes 1: an import may
// have stored that one, and one more is refused.
const (
	maxVersion = "9223372036854775806" // domain.MaxVersion

	edited    = ", version = version % " + maxVersion + " + 1, updated_at = ?"
	booked    = ", updated_at = ?"
	returning = " WHERE id = ? RETURNING {columns}"
	changing  = " AND id = ? RETURNING {columns}" // after a condition
	notLocked = "(locked_until IS NULL OR locked_until <= ?)"
	noReset   = "reset_token = NULL, reset_token_expiry = NULL"
	noVerify  = "verification_token = NULL, verification_token_expiry = NULL"
	noCode    = "phone_code = NULL, phone_code_expiry = NULL, phone_code_attempts = 0"
	noPending = "pending_email = NULL, " + noReset + ", " + noVerify + ", " + noCode
	unlocked  = "failed_login_attempts = 0, locked_until = NULL"
	someToken = "refresh_tokens <> '[]'"

	theIdentity     = "issuer = ? AND subject = ?"
	withoutPassword = "hashed_password LIKE '!%'" // domain.ParsePasswordHash has the rule

	password = "hashed_password = ?, " + noPending + ", " + unlocked
)

func insertUsers(names []string) string {
	return "INSERT INTO {users} (" + strings.Join(names, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) + ")"
}

// raisedIf raises the version, as an edit does, where a condition holds.
func raisedIf(condition string) string {
	return ", version = (version - 1 + CASE WHEN " + condition + " THEN 1 ELSE 0 END) % " + maxVersion + " + 1"
}

func newStatements(d *dialect, schema string) *statements {
	filled := d.filler(schema)
	fill := func(parts ...string) string { return filled(strings.Join(parts, "")) }
	// A lock that is stored here has ended, for the statement matches no other: its failures do not count any more.
	attempts := fmt.Sprintf("CASE WHEN locked_until IS NOT NULL THEN 1 WHEN failed_login_attempts < %d THEN failed_login_attempts + 1 ELSE %[1]d END",
		domain.MaxFailedLoginAttempts)
	// What belongs to the present address goes with it, what belongs to the pending one stays.
	unlessPending := func(column, value string) string {
		return column + " = CASE WHEN pending_email IS NULL THEN " + value + " ELSE " + column + " END"
	}
	ifPending := func(column string) string {
		return column + " = CASE WHEN pending_email IS NULL THEN " + column + " END"
	}
	// Of these there is one for an account and one for many.
	const (
		activate  = "UPDATE {users} SET is_active = true" + edited + " WHERE NOT is_active"
		revokeAll = "UPDATE {users} SET refresh_tokens = '[]'" + booked + " WHERE " + someToken
	)
	deactivate := "UPDATE {users} SET is_active = false, refresh_tokens = '[]', " + noPending +
		raisedIf("is_active OR pending_email IS NOT NULL") + booked + " WHERE (is_active OR " + someToken +
		" OR pending_email IS NOT NULL OR reset_token IS NOT NULL OR verification_token IS NOT NULL OR phone_code IS NOT NULL)"
	changingMany := " AND id " + d.inIDs + " RETURNING id"
	forUpdate := ""
	if d.locking {
		forUpdate = " FOR UPDATE"
	}
	s := &statements{
		find:     make(map[string]string),
		exists:   make(map[string]string),
		lock:     make(map[string]string),
		lockMany: fill("SELECT {columns} FROM {users} WHERE id ", d.inIDs, " ORDER BY id", forUpdate),
		findMany: map[string]string{
			user.FieldID:       fill("SELECT {columns} FROM {users} WHERE id ", d.inIDs),
			user.FieldEmail:    fill("SELECT {columns} FROM {users} WHERE email ", d.inTexts),
			user.FieldUsername: fill("SELECT {columns} FROM {users} WHERE username ", d.inTexts),
		},

		create:      fill(insertUsers(columnNames())),
		delete:      fill("DELETE FROM {users} WHERE id = ?"),
		deleteAt:    fill("DELETE FROM {users} WHERE id = ? AND version = ?"),
		signIn:      fill("UPDATE {users} SET last_login = ?", booked, " WHERE id = ?"),
		setEmail:    fill("UPDATE {users} SET email = ?, is_verified = false, ", noPending, edited, " WHERE email <> ?", changing),
		setUsername: fill("UPDATE {users} SET username = ?", edited, " WHERE username <> ?", changing),
		setNames: fill("UPDATE {users} SET first_name = ?, last_name = ?", edited,
			" WHERE (first_name IS DISTINCT FROM ? OR last_name IS DISTINCT FROM ?)", changing),
		setPhone:       fill("UPDATE {users} SET phone = ?, phone_verified_at = NULL, ", noCode, edited, " WHERE phone IS DISTINCT FROM ?", changing),
		activate:       fill(activate, changing),
		activateMany:   fill(activate, changingMany),
		deactivate:     fill(deactivate, changing),
		deactivateMany: fill(deactivate, changingMany),
		verify: fill("UPDATE {users} SET is_verified = true, ", unlessPending("verification_token", "NULL"), ", ",
			unlessPending("verification_token_expiry", "NULL"), raisedIf("NOT is_verified"), booked,
			" WHERE NOT (is_verified AND (pending_email IS NOT NULL OR verification_token IS NULL))", changing),
		unlock: fill("UPDATE {users} SET ", unlocked, booked, " WHERE (failed_login_attempts <> 0 OR locked_until IS NOT NULL)", changing),
		failure: fill("UPDATE {users} SET failed_login_attempts = ", attempts, ", locked_until = CASE WHEN ", attempts, " >= ? THEN {time} END", booked,
			" WHERE id = ? AND ", notLocked, " RETURNING {columns}"),
		lockUntil: fill("UPDATE {users} SET locked_until = ?", booked, " WHERE locked_until IS DISTINCT FROM ?", changing),
		success: fill("UPDATE {users} SET last_login = ?, hashed_password = ?, ", unlocked, booked,
			" WHERE id = ? AND hashed_password = ? AND is_active AND ", notLocked),
		setPassword: fill("UPDATE {users} SET ", password, ", refresh_tokens = '[]'", edited, returning),
		issueReset:  fill("UPDATE {users} SET reset_token = ?, reset_token_expiry = ?", booked, " WHERE is_active", changing),
		issueVerify: fill("UPDATE {users} SET verification_token = ?, verification_token_expiry = ?", booked, " WHERE is_active", changing),
		consumeReset: fill("UPDATE {users} SET ", password, ", is_verified = true, refresh_tokens = '[]'", edited,
			" WHERE reset_token = ? AND reset_token_expiry > ? RETURNING {columns}"),
		confirm: fill("UPDATE {users} SET email = coalesce(pending_email, email), pending_email = NULL, is_verified = true, verification_token_expiry = NULL, ",
			ifPending("reset_token"), ", ", ifPending("reset_token_expiry"), raisedIf("pending_email IS NOT NULL OR NOT is_verified"), booked,
			" WHERE verification_token = ? AND verification_token_expiry > ? RETURNING {columns}"),
		requestEmail: fill("UPDATE {users} SET pending_email = ?, verification_token = ?, verification_token_expiry = ?",
			raisedIf("pending_email IS DISTINCT FROM ?"), booked,
			" WHERE is_active AND email <> ? AND NOT EXISTS (SELECT 1 FROM {users} AS other WHERE other.email = ?)", changing),
		cancelEmail:  fill("UPDATE {users} SET pending_email = NULL, ", noVerify, edited, " WHERE pending_email IS NOT NULL", changing),
		cancelReset:  fill("UPDATE {users} SET ", noReset, booked, " WHERE reset_token IS NOT NULL", changing),
		cancelVerify: fill("UPDATE {users} SET ", noVerify, booked, " WHERE verification_token IS NOT NULL", changing),
		issueCode: fill("UPDATE {users} SET phone_code = ?, phone_code_expiry = ?, phone_code_attempts = 0", booked,
			" WHERE is_active AND phone IS NOT NULL", changing),
		// It counts before it compares, in one statement, so that guesses at once are no more than guesses one after the other.
		consumeCode: fill("UPDATE {users} SET phone_code_attempts = phone_code_attempts + 1, ",
			"phone_verified_at = CASE WHEN phone_code = ? THEN {time} ELSE phone_verified_at END, ",
			"phone_code_expiry = CASE WHEN phone_code = ? THEN NULL ELSE phone_code_expiry END",
			raisedIf("phone_code = ? AND phone_verified_at IS NULL"), booked,
			" WHERE id = ? AND is_active AND phone IS NOT NULL AND phone_code_expiry > ?",
			fmt.Sprintf(" AND phone_code_attempts < %d RETURNING {columns}", domain.MaxPhoneCodeAttempts)),
		cancelCode: fill("UPDATE {users} SET ", noCode, booked, " WHERE phone_code IS NOT NULL", changing),

		// What is read after it, of this account and of its identities, stays until the transaction ends.
		lockAccount:    fill("UPDATE {users} SET version = version WHERE id = ?"),
		findByIdentity: fill("SELECT {columns} FROM {users} WHERE id = (SELECT user_id FROM {identities} WHERE ", theIdentity, ")"),
		identities: fill("SELECT i.issuer, i.subject, i.created_at, i.last_used_at FROM {users} AS u LEFT JOIN {identities} AS i ON i.user_id = u.id",
			" WHERE u.id = ? ORDER BY i.created_at, i.issuer, i.subject"),
		link: fill("INSERT INTO {identities} (user_id, issuer, subject, created_at) SELECT id, CAST(? AS varchar), CAST(? AS varchar), {time}",
			" FROM {users} WHERE id = ?"),
		isLinked:    fill("SELECT 1 FROM {identities} WHERE ", theIdentity, " AND user_id = ?"),
		hasIdentity: fill("SELECT 1 FROM {identities} WHERE user_id = ? LIMIT 1"),
		unlink:      fill("DELETE FROM {identities} WHERE ", theIdentity, " AND user_id = ?"),
		unlinkUnlessLast: fill("DELETE FROM {identities} WHERE ", theIdentity, " AND user_id = ?",
			" AND (EXISTS (SELECT 1 FROM {users} WHERE id = ? AND NOT ", withoutPassword, ")",
			" OR EXISTS (SELECT 1 FROM {identities} AS other WHERE other.user_id = ? AND NOT (other.issuer = ? AND other.subject = ?)))"),
		identitySignIn: fill("UPDATE {users} SET last_login = ?", booked, " WHERE is_active AND id = (SELECT user_id FROM {identities} WHERE ",
			theIdentity, ") RETURNING {columns}"),
		identityUsed: fill("UPDATE {identities} SET last_used_at = ? WHERE ", theIdentity),

		issueToken:      fill("UPDATE {users} SET refresh_tokens = ", d.appended, booked, " WHERE id = ? AND is_active AND ", d.length, " < ?"),
		rotateToken:     fill("UPDATE {users} SET refresh_tokens = ", d.replaced, booked, " WHERE id = ? AND is_active AND ", d.contains),
		sessions:        fill("SELECT is_active, refresh_tokens FROM {users} WHERE id = ?"),
		rewriteSessions: fill("UPDATE {users} SET refresh_tokens = ?", booked, " WHERE id = ? AND is_active AND ", d.same),
		revoke:          fill("UPDATE {users} SET refresh_tokens = ", d.kept("s <> ?"), booked, " WHERE ", d.hasEntry("= ?"), changing),
		revokeOthers:    fill("UPDATE {users} SET refresh_tokens = ", d.kept("s = ?"), booked, " WHERE ", d.hasEntry("<> ?"), changing),
		revokeAll:       fill(revokeAll, changing),
		revokeMany:      fill(revokeAll, changingMany),
		countSessions: fill("SELECT CAST(coalesce(sum(sessions), 0) AS bigint) FROM (SELECT ", d.liveSessions(),
			" AS sessions FROM {users}) AS counted"),
		nextIDs:         fill("SELECT id FROM {users} WHERE id > ? ORDER BY id LIMIT ?"),
		sweep:           fill("UPDATE {users} SET refresh_tokens = ", d.kept("true"), booked, " WHERE id > ? AND id <= ? AND ", d.hasStale()),
		revokeEverybody: fill("UPDATE {users} SET refresh_tokens = '[]'", booked, " WHERE id > ? AND id <= ? AND ", someToken),
		endEverybody: fill("UPDATE {users} SET refresh_tokens = '[]'", booked, " WHERE id > ? AND id <= ? AND ",
			d.liveSessions(), " > 0 RETURNING id"),

		storedIDs: fill("SELECT id FROM {users} WHERE id ", d.inIDs),
		linksOf:   fill("SELECT user_id, issuer, subject, created_at, last_used_at FROM {identities} WHERE user_id ", d.inIDs, " ORDER BY created_at, issuer, subject"),
		enter:     fill(d.insertEntries(schema), "SELECT id, ?, ?, ?, ?, ? FROM ", d.eachID),

		createStaging: fill("CREATE TEMPORARY TABLE ", staging, " AS SELECT 0 AS ", place, ", {columns} FROM {users} WHERE false"),
		insertStaged: fill("INSERT INTO {users} ({columns}) SELECT {columns} FROM ", staging, " WHERE true ORDER BY ", place,
			" ON CONFLICT DO NOTHING RETURNING id"), // SQLite's grammar needs the WHERE
		stagedHolders: fill(stagedHolders(d.inIDs)),
	}
	const checked = " WHERE id = ? AND hashed_password = ? RETURNING {columns}"
	s.changePassword = fill("UPDATE {users} SET ", password, ", refresh_tokens = '[]'", edited, checked)
	s.setKeeping = fill("UPDATE {users} SET ", password, ", refresh_tokens = ", d.kept("s = ?"), edited, returning)
	s.changeKeeping = fill("UPDATE {users} SET ", password, ", refresh_tokens = ", d.kept("s = ?"), edited, checked)
	for _, column := range []string{user.FieldID, user.FieldEmail, user.FieldUsername, user.FieldPhone, user.FieldResetToken, user.FieldVerificationToken} {
		s.find[column] = fill(fmt.Sprintf("SELECT {columns} FROM {users} WHERE %s = ?", column))
		s.lock[column] = s.find[column] + forUpdate
		s.exists[column] = fill(fmt.Sprintf("SELECT 1 FROM {users} WHERE %s = ?", column))
	}
	return s
}
