//go:build !unix

package libpq

// quiet cannot be told here: a statement on a connection that the server has closed fails, and the next one gets another.
func (*socket) quiet() bool { return true }
