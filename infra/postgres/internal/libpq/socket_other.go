//go:build !unix

package libpq

// quiet is unknown here: a statement on a connection that the server has closed fails, and the next one gets another.
func (*socket) quiet() bool { return true }
