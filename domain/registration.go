package domain

// Registration is what a new account is made of. ID, FirstName, LastName and Phone may be absent. For an account without a password
// the hash is [NoPassword].
type Registration struct {
	ID           ID // of the application's making, such as a UUID of version 7; absent: a new random one
	Email        Email
	Username     Username
	PasswordHash PasswordHash
	FirstName    string
	LastName     string
	Phone        Phone
}
