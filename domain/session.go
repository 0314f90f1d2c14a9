package domain

import (
	"time"

	"github.com/softbee/accounts/domain/entry"
)

// Session is one sign-in on one device, with what its owner may see of it. Times are UTC, to the millisecond.
type Session struct {
	ID             SessionID
	Label          string    // given by the application, such as "Firefox on Linux, Bogotá"; may be ""
	IssuedAt       time.Time // the sign-in
	RotatedAt      time.Time // when its live token was issued; IssuedAt for the first one, and later with each
	ExpiresAt      time.Time // when it ends unless its token is rotated
	AbsoluteExpiry time.Time // when it ends at the latest
}

func sessionOf(id SessionID, t entry.Terms) Session {
	at := func(millis int64) time.Time { return time.UnixMilli(millis).UTC() }
	return Session{
		ID: id, Label: t.Label, IssuedAt: at(t.Issued), RotatedAt: at(t.Rotated), ExpiresAt: at(t.Expires), AbsoluteExpiry: at(t.Absolute),
	}
}
