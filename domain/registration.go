package domain

// Registration is the input of [NewUser]. ID, FirstName, LastName and Phone may be absent. For an account without a password the hash is
// [NoPassword].
type Registration struct {
	ID           ID // chosen by the application, such as a UUID of version 7; absent: a new random one
	Email        Email
	Username     Username
	PasswordHash PasswordHash
	FirstName    string
	LastName     string
	Phone        Phone
}
