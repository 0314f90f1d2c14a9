package domain

import "context"

// PasswordHasher makes and checks hashes. Implementations are safe for concurrent use and bound how many hashes they
// compute at once; while waiting for their turn both methods honour ctx and return its error.
type PasswordHasher interface {
	// Hash returns a new hash of password by the current policy.
	Hash(ctx context.Context, password string) (PasswordHash, error)

	// Verify tells whether password is the one that hash was made of. It returns [ErrInvalid] on the field
	// "hashed_password" for a hash that it cannot or must not verify: [NoPassword], an unknown or malformed form, or parameters
	// out of bounds; and on the field "password" for one that the hash's scheme cannot carry, such as one with a NUL. To a
	// sign-in both are a wrong password.
	//
	// A password that does not match takes at least as long as one that does not match a hash made by Hash today, however
	// cheap the given one is: otherwise the time tells that the account exists.
	Verify(ctx context.Context, hash PasswordHash, password string) (Verification, error)
}

// Verification is the answer of [PasswordHasher.Verify].
type Verification struct {
	Match bool
	// Stale is true when the password matched but the hash is weaker than the policy or of another scheme, so that a new
	// hash should be stored now that the password is at hand.
	Stale bool
}
