// Package domain holds what an account is and which rules it obeys: the entity [User], its value objects, the policies
// for passwords and sessions, the errors, and the [Repository] that a store implements.
//
// It knows nothing of databases. Every value object is immutable, its zero value means "absent", and no function
// outside this package can build an invalid one, so a value that exists needs no further checking.
package domain
