package bulk

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// row is one account of a file, on its way into the store.
type row struct {
	line  int
	user  *domain.User // nil if refused
	links []domain.Identity
	newID bool  // the file has no ID for it
	err   error // why it is refused
}

// draft is what a row's fields say.
type draft struct {
	domain.Registration
	id                     domain.ID
	hash                   string
	pending                domain.Email
	identities             []domain.Identity
	inactive, verified     bool
	failures               int
	lastLogin, lockedUntil time.Time
	phoneVerifiedAt        time.Time
	createdAt, updatedAt   time.Time
}

// kind is how a field is written in JSON.
type kind int

const (
	text kind = iota
	flag
	number
)

// field is one that a row can have.
type field struct {
	name string
	bit  uint32 // stands for the field in a set
	kind kind
	set  func(d *draft, value string) error
}

// fields are those of an account as the command line prints it, and the hash. The number of sessions, the version and whether there is a
// password are accepted, since an export has them, and have no meaning here: sessions stay behind, a version counts from 1, and the hash
// says the rest.
var fields = byName(
	field{name: "id", kind: text, set: func(d *draft, value string) (err error) { d.id, err = domain.ParseID(value); return err }},
	field{name: "email", kind: text, set: func(d *draft, value string) (err error) { d.Email, err = domain.ParseEmail(value); return err }},
	field{name: "pending_email", kind: text, set: func(d *draft, value string) (err error) { d.pending, err = domain.ParseEmail(value); return err }},
	field{name: "username", kind: text, set: func(d *draft, value string) (err error) { d.Username, err = domain.ParseUsername(value); return err }},
	field{name: "hashed_password", kind: text, set: func(d *draft, value string) error { d.hash = value; return nil }},
	field{name: "first_name", kind: text, set: func(d *draft, value string) error { d.FirstName = value; return nil }},
	field{name: "last_name", kind: text, set: func(d *draft, value string) error { d.LastName = value; return nil }},
	field{name: "phone", kind: text, set: func(d *draft, value string) (err error) { d.Phone, err = domain.ParsePhone(value); return err }},
	field{name: "phone_verified_at", kind: text, set: func(d *draft, value string) error { return setTime("phone_verified_at", value, &d.phoneVerifiedAt) }},
	field{name: "is_active", kind: flag, set: func(d *draft, value string) error { return setFlag("is_active", value, &d.inactive, false) }},
	field{name: "is_verified", kind: flag, set: func(d *draft, value string) error { return setFlag("is_verified", value, &d.verified, true) }},
	field{name: "last_login", kind: text, set: func(d *draft, value string) error { return setTime("last_login", value, &d.lastLogin) }},
	field{name: "failed_login_attempts", kind: number, set: setFailures},
	field{name: "locked_until", kind: text, set: func(d *draft, value string) error { return setTime("locked_until", value, &d.lockedUntil) }},
	field{name: "created_at", kind: text, set: func(d *draft, value string) error { return setTime("created_at", value, &d.createdAt) }},
	field{name: "updated_at", kind: text, set: func(d *draft, value string) error { return setTime("updated_at", value, &d.updatedAt) }},
	field{name: "sessions", kind: number, set: ignore},
	field{name: "has_password", kind: flag, set: ignore},
	field{name: "version", kind: number, set: ignore},
)

func byName(list ...field) map[string]field {
	named := make(map[string]field, len(list))
	for i, f := range list {
		f.bit = 1 << i
		named[f.name] = f
	}
	return named
}

func ignore(*draft, string) error { return nil }

func setFlag(name, value string, into *bool, when bool) error {
	set, err := strconv.ParseBool(value)
	if err != nil {
		return invalid(name, "is neither true nor false")
	}
	*into = set == when
	return nil
}

// setIdentities reads an array of objects with an issuer and a subject, which only JSON has.
func setIdentities(d *draft, raw []byte) error {
	if err := json.Unmarshal(raw, &d.identities); err != nil {
		if domain.KindOf(err) == domain.ErrInvalid {
			return err
		}
		return invalid(identitiesField, "is not an array of objects with an issuer and a subject")
	}
	if slices.Contains(d.identities, domain.Identity{}) {
		return invalid(identitiesField, "has an entry that is null")
	}
	return nil
}

const identitiesField = "identities"

func setFailures(d *draft, value string) error {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 0 {
		return invalid("failed_login_attempts", "is not a number from 0 up")
	}
	d.failures = int(n)
	return nil
}

// setTime reads a time that both databases can hold and that is not the one which stands for "absent".
func setTime(name, value string, into *time.Time) error {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return invalid(name, "is not a time as RFC 3339 writes it, like 2026-01-31T23:59:59Z")
	}
	t = domain.StoredTime(t)
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return invalid(name, "is not a time of the years 1 to 9999")
	}
	*into = t
	return nil
}

// user returns the account that the draft describes, by the rules for a new one.
func (d *draft) user(checkHash func(domain.PasswordHash) error, now time.Time) (*domain.User, error) {
	if d.hash == "" && checkHash == nil {
		d.hash = domain.NoPassword().Stored()
	}
	var err error
	if d.PasswordHash, err = domain.ParsePasswordHash(d.hash); err != nil {
		return nil, err
	}
	if checkHash != nil && d.PasswordHash.HasPassword() {
		if err := checkHash(d.PasswordHash); err != nil {
			return nil, err
		}
	}
	if d.Phone.IsZero() && !d.phoneVerifiedAt.IsZero() {
		return nil, invalid("phone_verified_at", "is given without a phone")
	}
	created, err := domain.NewUser(d.Registration, now)
	if err != nil {
		return nil, err
	}
	state := created.State()
	if !d.id.IsZero() {
		state.ID = d.id
	}
	if d.pending != state.Email { // what was sent to it stays behind, so it has to be asked for again
		state.PendingEmail = d.pending
	}
	state.Active, state.Verified, state.PhoneVerifiedAt = !d.inactive, d.verified, d.phoneVerifiedAt
	state.FailedLoginAttempts, state.LockedUntil, state.LastLogin = d.failures, d.lockedUntil, d.lastLogin
	if !d.createdAt.IsZero() {
		state.CreatedAt, state.UpdatedAt = d.createdAt, d.createdAt
	}
	if !d.updatedAt.IsZero() {
		state.UpdatedAt = d.updatedAt
	}
	return domain.RestoreUser(state)
}

// unknownField names the field only if it looks like a field's name: in its place may stand anything, secrets too.
func unknownField(name string) error {
	const longest = 40
	if name == "" || len(name) > longest || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
		return invalid("", "there is a field that an account does not have")
	}
	return invalid(name, "is not a field of an account")
}

func invalid(field, reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: field, Reason: reason}
}
