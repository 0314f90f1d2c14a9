package domain

import (
	"cmp"
	"slices"
	"time"
)

// AuthenticationPolicy has the rules of a program for passwords, locks, tokens and sessions. The costs of hashing belong to the
// [PasswordHasher]: for the one in infra/password, to its Policy. The zero value is the default.
type AuthenticationPolicy struct {
	Lock     LockPolicy     // when failed sign-ins lock an account
	Password PasswordPolicy // which new passwords are accepted

	// Session limits the sessions of StartSession and RefreshSession. It has no Label, which is an argument of StartSession.
	Session SessionPolicy

	// How long tokens are valid, up to 7 days, unless the call that issues one has a ttl of its own.
	ResetTTL        time.Duration // default 15 minutes
	VerificationTTL time.Duration // default 24 hours

	// PhoneCodeTTL is how long a code for a telephone number is valid. Default, and at most, 10 minutes (NIST SP 800-63B-4, 3.1.3).
	PhoneCodeTTL time.Duration

	// RefusalTime is the minimum time that ErrBadCredentials takes, up to 10 seconds. Default 0. It is needed only while there are imported hashes that
	// cost more than the hasher's policy, such as bcrypt at cost 12: a wrong password takes longer against those than an unknown account does. Set it
	// above what the costliest takes under load, and back to 0 when they have been replaced.
	RefusalTime time.Duration

	// Observers see each call of the authenticator: "authenticate", "change password" and so on.
	Observers []Observer
}

// The defaults of AuthenticationPolicy.
const (
	DefaultResetTTL        = 15 * time.Minute
	DefaultVerificationTTL = 24 * time.Hour
	DefaultPhoneCodeTTL    = 10 * time.Minute
)

const (
	maxOneTimeTokenTTL = 7 * 24 * time.Hour
	maxPhoneCodeTTL    = 10 * time.Minute
	maxRefusalTime     = 10 * time.Second
)

func (p AuthenticationPolicy) resolve() (AuthenticationPolicy, error) {
	var err error
	if p.Lock, err = p.Lock.Resolve(); err != nil {
		return p, err
	}
	if p.Password, err = p.Password.resolve(); err != nil {
		return p, err
	}
	if p.Session.Label != "" {
		return p, invalid("label", "is given for all sessions; expected one with each StartSession")
	}
	if p.Session, err = p.Session.Resolve(); err != nil {
		return p, err
	}
	p.ResetTTL = cmp.Or(p.ResetTTL, DefaultResetTTL)
	if err := checkTTL("reset_ttl", p.ResetTTL); err != nil {
		return p, err
	}
	p.VerificationTTL = cmp.Or(p.VerificationTTL, DefaultVerificationTTL)
	if err := checkTTL("verification_ttl", p.VerificationTTL); err != nil {
		return p, err
	}
	p.PhoneCodeTTL = cmp.Or(p.PhoneCodeTTL, DefaultPhoneCodeTTL)
	if err := checkPhoneCodeTTL("phone_code_ttl", p.PhoneCodeTTL); err != nil {
		return p, err
	}
	if slices.Contains(p.Observers, nil) {
		return p, invalid("observers", "has a nil observer")
	}
	if p.RefusalTime < 0 || p.RefusalTime > maxRefusalTime {
		return p, invalid("refusal_time", "is not 0 to 10 seconds")
	}
	return p, nil
}

func checkTTL(field string, ttl time.Duration) error {
	switch {
	case ttl < 0:
		return invalid(field, "is negative")
	case ttl > maxOneTimeTokenTTL:
		return invalid(field, "is longer than 7 days")
	}
	return nil
}

func checkPhoneCodeTTL(field string, ttl time.Duration) error {
	if ttl < 0 || ttl > maxPhoneCodeTTL {
		return invalid(field, "is not more than 0 and at most 10 minutes")
	}
	return nil
}
