package password

import "github.com/softbee/accounts/domain"

// Check returns nil for a hash that Verify can hold a password against, and otherwise the error that Verify would return:
// [domain.ErrInvalid] on the field "hashed_password". It computes no hash.
func (h *Hasher) Check(hash domain.PasswordHash) error {
	_, err := parse(hash.Stored(), h.allowWeak)
	return err
}
