package domain

import "context"

// PasswordHasher computes and verifies hashes. Implementations are safe for concurrent use and limit how many hashes they compute at once; while waiting
// both methods honour ctx and return its error.
type PasswordHasher interface {
	// Hash returns a new hash of password by the current policy.
	Hash(ctx context.Context, password string) (PasswordHash, error)

	// Verify reports whether hash is of password. It returns [ErrInvalid] on the field "hashed_password" for a hash that it cannot or must not verify:
	// [NoPassword], an unknown or malformed form, or parameters out of bounds; and on the field "password" for one that the hash's scheme cannot
	// represent, such as one with a NUL. To a sign-in both are a wrong password.
	//
	// A wrong password takes at least as long as against a hash that Hash returns now, however cheap the given hash is: otherwise the time would
	// reveal that the account exists.
	Verify(ctx context.Context, hash PasswordHash, password string) (Verification, error)
}

// Verification is the result of [PasswordHasher.Verify].
type Verification struct {
	Match bool
	// Stale is true when the password matched but the hash is weaker than the policy or of another scheme: store a new hash.
	Stale bool
}
