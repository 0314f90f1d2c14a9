package bulk

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
)

// row is one account of a file, on its way into the store.
type row struct {
	line  int
	user  *domain.User // nil if refused
	links []domain.LinkedIdentity
	newID bool  // the file has no ID for it
	err   error // why it is refused

	skipped bool // it is stored already
}

// draft is what a row's fields say. The texts are read by user or restore.
type draft struct {
	id                     domain.ID
	email, pending         string
	username               string
	hash                   string
	firstName, lastName    string
	phone                  string
	identities             string // in JSON
	inactive, verified     bool
	failures               int
	lastLogin, lockedUntil time.Time
	phoneVerifiedAt        time.Time
	createdAt, updatedAt   *time.Time
	version                int64 // 0 if the row has none
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

// fields are those of an account as the command line prints it, and the hash. The number of sessions and whether there is a password are accepted,
// since an export has them, and have no meaning here: sessions stay behind, and the hash says the rest.
var fields = byName(
	field{name: "id", kind: text, set: func(d *draft, value string) (err error) { d.id, err = domain.ParseID(value); return err }},
	field{name: "email", kind: text, set: func(d *draft, value string) error { d.email = value; return nil }},
	field{name: "pending_email", kind: text, set: func(d *draft, value string) error { d.pending = value; return nil }},
	field{name: "username", kind: text, set: func(d *draft, value string) error { d.username = value; return nil }},
	field{name: "hashed_password", kind: text, set: func(d *draft, value string) error { d.hash = value; return nil }},
	field{name: "first_name", kind: text, set: func(d *draft, value string) error { d.firstName = value; return nil }},
	field{name: "last_name", kind: text, set: func(d *draft, value string) error { d.lastName = value; return nil }},
	field{name: "phone", kind: text, set: func(d *draft, value string) error { d.phone = value; return nil }},
	field{name: "phone_verified_at", kind: text, set: func(d *draft, value string) error { return setTime("phone_verified_at", value, &d.phoneVerifiedAt) }},
	field{name: "is_active", kind: flag, set: func(d *draft, value string) error { return setFlag("is_active", value, &d.inactive, false) }},
	field{name: "is_verified", kind: flag, set: func(d *draft, value string) error { return setFlag("is_verified", value, &d.verified, true) }},
	field{name: "last_login", kind: text, set: func(d *draft, value string) error { return setTime("last_login", value, &d.lastLogin) }},
	field{name: "failed_login_attempts", kind: number, set: setFailures},
	field{name: "locked_until", kind: text, set: func(d *draft, value string) error { return setTime("locked_until", value, &d.lockedUntil) }},
	field{name: "created_at", kind: text, set: func(d *draft, value string) error { return setEvent("created_at", value, &d.createdAt) }},
	field{name: "updated_at", kind: text, set: func(d *draft, value string) error { return setEvent("updated_at", value, &d.updatedAt) }},
	field{name: "sessions", kind: number, set: ignore},
	field{name: "has_password", kind: flag, set: ignore},
	field{name: "version", kind: number, set: setVersion},
)

// fieldNames are the names of fields, in their order.
var fieldNames []string

func byName(list ...field) map[string]field {
	named := make(map[string]field, len(list))
	for i, f := range list {
		f.bit = 1 << i
		named[f.name] = f
		fieldNames = append(fieldNames, f.name)
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

// links reads an array of objects with an issuer, a subject and, as an export has them, times. Only JSON has it.
func (d *draft) links(parse func(issuer, subject string) (domain.Identity, error)) ([]domain.LinkedIdentity, error) {
	if d.identities == "" {
		return nil, nil
	}
	var read []*struct {
		Issuer     string  `json:"issuer"`
		Subject    string  `json:"subject"`
		CreatedAt  *string `json:"created_at"`
		LastUsedAt *string `json:"last_used_at"`
	}
	if err := json.Unmarshal([]byte(d.identities), &read); err != nil {
		return nil, invalid(identitiesField, "is not an array of objects with an issuer and a subject")
	}
	links := make([]domain.LinkedIdentity, len(read))
	for i, one := range read {
		if one == nil {
			return nil, invalid(identitiesField, "has an entry that is null")
		}
		var err error
		if links[i].Identity, err = parse(one.Issuer, one.Subject); err != nil {
			return nil, err
		}
		if one.CreatedAt != nil {
			if links[i].CreatedAt, err = parseTime(identitiesField, *one.CreatedAt); err != nil {
				return nil, err
			}
			if links[i].CreatedAt.IsZero() { // the first moment, and not an absent time: a store cuts this to it
				links[i].CreatedAt = links[i].CreatedAt.Add(time.Nanosecond)
			}
		}
		if one.LastUsedAt != nil {
			if err := setTime(identitiesField, *one.LastUsedAt, &links[i].LastUsedAt); err != nil {
				return nil, err
			}
		}
	}
	return links, nil
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

func setVersion(d *draft, value string) error {
	var err error
	if d.version, err = strconv.ParseInt(value, 10, 64); err != nil || d.version < 1 {
		return invalid("version", "is not a number from 1 up")
	}
	return nil
}

// setTime reads a time that both databases can hold and that is not the one which stands for "absent".
func setTime(name, value string, into *time.Time) error {
	t, err := parseTime(name, value)
	if err == nil && t.IsZero() {
		err = invalid(name, "is the first moment of the year 1, which stands for no time")
	}
	if err == nil {
		*into = t
	}
	return err
}

// setEvent reads a time that every account has.
func setEvent(name, value string, into **time.Time) error {
	t, err := parseTime(name, value)
	if err == nil {
		*into = &t
	}
	return err
}

func parseTime(name, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil { // "t" and "z" may be small (RFC 3339, 5.6)
		t, err = time.Parse(time.RFC3339, strings.ToUpper(value))
	}
	if err != nil {
		return t, invalid(name, "is not a time as RFC 3339 writes it, like 2026-01-31T23:59:59Z")
	}
	t = domain.StoredTime(t)
	if t.Year() < 1 || t.Year() > 9999 {
		return t, invalid(name, "is not a time of the years 1 to 9999")
	}
	return t, nil
}

// user returns the account that the draft describes, with the identities to link to it: one that has a version as it was stored, another one by
// the rules for a new account.
func (d *draft) user(checkHash func(domain.PasswordHash) error, now time.Time) (*domain.User, []domain.LinkedIdentity, error) {
	if d.hash == "" && checkHash == nil {
		d.hash = domain.NoPassword().Stored()
	}
	hash, err := domain.ParsePasswordHash(d.hash)
	if err != nil {
		return nil, nil, err
	}
	if d.version > 0 {
		return d.restore(hash, now)
	}
	if checkHash != nil && hash.HasPassword() {
		if err := checkHash(hash); err != nil {
			return nil, nil, err
		}
	}
	registration := domain.Registration{ID: d.id, PasswordHash: hash, FirstName: d.firstName, LastName: d.lastName}
	var pending domain.Email
	if d.email != "" {
		if registration.Email, err = domain.ParseEmail(d.email); err != nil {
			return nil, nil, err
		}
	}
	if d.username != "" {
		if registration.Username, err = domain.ParseUsername(d.username); err != nil {
			return nil, nil, err
		}
	}
	if d.phone != "" {
		if registration.Phone, err = domain.ParsePhone(d.phone); err != nil {
			return nil, nil, err
		}
	} else if !d.phoneVerifiedAt.IsZero() {
		return nil, nil, invalid("phone_verified_at", "is given without a phone")
	}
	if d.pending != "" {
		if pending, err = domain.ParseEmail(d.pending); err != nil {
			return nil, nil, renamed(err, "pending_email")
		}
	}
	for name, t := range map[string]*time.Time{"created_at": d.createdAt, "updated_at": d.updatedAt} {
		if t != nil && t.IsZero() {
			return nil, nil, invalid(name, "is the first moment of the year 1, which stands for no time")
		}
	}
	links, err := d.links(domain.ParseIdentity)
	if err != nil {
		return nil, nil, err
	}
	created, err := domain.NewUser(registration, now)
	if err != nil {
		return nil, nil, err
	}
	state := created.State()
	if pending != state.Email { // what was sent to it stays behind, so it has to be asked for again
		state.PendingEmail = pending
	}
	return d.finish(state, links)
}

// restore returns the account as it was stored, checking its form only: a short username, a national telephone number, or an address that a rule of
// today would refuse, may be in an adopted table, and what is exported comes back the same.
func (d *draft) restore(hash domain.PasswordHash, now time.Time) (*domain.User, []domain.LinkedIdentity, error) {
	state := domain.UserState{ID: d.id, PasswordHash: hash, FirstName: d.firstName, LastName: d.lastName, Version: d.version}
	if d.id.IsZero() {
		state.ID = domain.NewID()
	}
	var err error
	if d.email != "" {
		if state.Email, err = domain.RestoreEmail(d.email); err != nil {
			return nil, nil, err
		}
	}
	if d.username != "" {
		if state.Username, err = domain.RestoreUsername(d.username); err != nil {
			return nil, nil, err
		}
	}
	if state.Phone, err = domain.RestorePhone(d.phone); err != nil {
		return nil, nil, err
	}
	if d.pending != "" {
		if state.PendingEmail, err = domain.RestoreEmail(d.pending); err != nil {
			return nil, nil, renamed(err, "pending_email")
		}
	}
	links, err := d.links(func(issuer, subject string) (domain.Identity, error) {
		if issuer == "" || subject == "" {
			return domain.Identity{}, invalid(identitiesField, "has an entry without an issuer or a subject")
		}
		return domain.RestoreIdentity(issuer, subject), nil
	})
	if err != nil {
		return nil, nil, err
	}
	state.CreatedAt, state.UpdatedAt = domain.StoredTime(now), domain.StoredTime(now)
	return d.finish(state, links)
}

// finish adds what is the same for a new and a restored account.
func (d *draft) finish(state domain.UserState, links []domain.LinkedIdentity) (*domain.User, []domain.LinkedIdentity, error) {
	state.Active, state.Verified, state.PhoneVerifiedAt = !d.inactive, d.verified, d.phoneVerifiedAt
	state.FailedLoginAttempts, state.LockedUntil, state.LastLogin = d.failures, d.lockedUntil, d.lastLogin
	if d.createdAt != nil {
		state.CreatedAt, state.UpdatedAt = *d.createdAt, *d.createdAt
	}
	if d.updatedAt != nil {
		state.UpdatedAt = *d.updatedAt
	}
	user, err := domain.RestoreUser(state)
	return user, links, err
}

// renamed returns a refusal with another field.
func renamed(err error, field string) error {
	var detail *domain.Error
	if errors.As(err, &detail) {
		return invalid(field, detail.Reason)
	}
	return err
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
