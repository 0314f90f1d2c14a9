package domain

import "context"

type currentKey struct{}

// ReadCurrent returns a context whose reads see what is in force now. A repository that lets replicas answer reads, which may be seconds behind, asks the primary
// under it: for what is decided by the answer, such as whether an account is still active. An [Authenticator] does so by itself.
func ReadCurrent(ctx context.Context) context.Context {
	return context.WithValue(ctx, currentKey{}, true)
}

// ReadsCurrent tells a repository whether the context is one of [ReadCurrent].
func ReadsCurrent(ctx context.Context) bool { return ctx.Value(currentKey{}) != nil }
