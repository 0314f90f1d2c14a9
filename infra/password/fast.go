package password

// Fast returns a hasher for tests, whose hashes take a few microseconds instead of tens of milliseconds. They are Argon2id
// with the least memory that there is (8 KiB, one pass), which protects no password: never store accounts of people with
// it. A hasher made by New verifies them and reports them as stale, so that the first sign-in replaces them.
func Fast() *Hasher {
	return newHasherOf(argon2Params{argon2id, 8, 1, 1, saltBytes, tagBytes}, Policy{Concurrency: maxConcurrency})
}
