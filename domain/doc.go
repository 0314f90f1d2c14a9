// Package domain has the entity [User], its value objects, the policies for passwords and sessions, the errors, and the [Repository] that a store
// implements.
//
// It depends on no database. Every value object is immutable, its zero value means "absent", and no function outside this package can build an
// invalid one, so that a value needs no further validation.
package domain
