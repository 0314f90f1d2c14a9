// Package libpq makes lib/pq do what the store needs of a driver and lib/pq 1.12 does not do. Each part exists for one behaviour of
// lib/pq or database/sql, and can go when that changes:
//
//   - statement_cache.go: lib/pq takes two round trips for a statement with arguments. A driver that keeps prepared statements, as pgx
//     does, makes it unnecessary.
//   - socket.go: lib/pq reports driver.ErrBadConn when a reply is lost, and database/sql then executes the statement again. It would be
//     unnecessary if lib/pq reported that only for statements that were not sent. It also gives up the connections of a pool whose server
//     has become read-only or silent, which database/sql has no call for.
//   - cancel.go: lib/pq waits for a server that says nothing, whether or not the context has ended, and starts a goroutine with every
//     statement whose context can end. It would be unnecessary if lib/pq used context.AfterFunc and a deadline on the socket.
//   - connect.go: lib/pq heeds the context only while it dials, and tries the hosts of a URL one after the other, each for connect_timeout.
//     A driver that bounds the whole of an attempt, and begins the next one meanwhile, makes it unnecessary.
//   - copy.go: lib/pq takes the values of a COPY one row at a time through database/sql, which copies each value twice, and
//     hangs when a transaction is rolled back during a COPY.
package libpq
