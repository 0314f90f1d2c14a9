package domaintest

import (
	"context"
	"errors"
	"time"

	"github.com/softbee/accounts/domain"
)

func (m *model) IssuePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest, expiry time.Time) (*domain.User, error) {
	if digest.IsZero() {
		return nil, refuse(domain.ErrInvalid, "phone_code")
	}
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		switch {
		case !s.Active:
			return refuse(domain.ErrInactive, "")
		case s.Phone.IsZero():
			return refuse(domain.ErrInvalid, "phone")
		}
		s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = digest, storedTime(expiry), 0
		return nil
	})
}

func (m *model) ConsumePhoneCode(ctx context.Context, id domain.ID, digest domain.TokenDigest) (domain.PhoneConfirmation, error) {
	var already bool
	var refused error
	u, err := m.change(ctx, id, func(s *domain.UserState, now time.Time) error {
		switch {
		case !s.Active:
			return refuse(domain.ErrInactive, "")
		case s.PhoneCodeExpiry.IsZero() && s.PhoneCode == digest && !digest.IsZero():
			already = true
			return nil
		case s.PhoneCode.IsZero(), s.PhoneCodeExpiry.IsZero():
			return refuse(domain.ErrTokenInvalid, "code")
		case !s.PhoneCodeExpiry.After(now):
			return refuse(domain.ErrTokenExpired, "code")
		case s.PhoneCodeAttempts >= domain.MaxPhoneCodeAttempts:
			return refuse(domain.ErrTokenInvalid, "code")
		}
		s.PhoneCodeAttempts++
		if s.PhoneCode != digest {
			refused = refuse(domain.ErrTokenInvalid, "code")
			return nil
		}
		s.PhoneVerifiedAt, s.PhoneCodeExpiry = now, time.Time{}
		return nil
	})
	if err != nil || refused != nil {
		return domain.PhoneConfirmation{}, errors.Join(err, refused)
	}
	return domain.PhoneConfirmation{User: u, Phone: u.Phone(), Already: already}, nil
}

func (m *model) CancelPhoneCode(ctx context.Context, id domain.ID) (*domain.User, error) {
	return m.keepBooks(ctx, id, func(s *domain.UserState, _ time.Time) error {
		s.PhoneCode, s.PhoneCodeExpiry, s.PhoneCodeAttempts = domain.TokenDigest{}, time.Time{}, 0
		return nil
	})
}
