// Package libpq makes lib/pq do what the store needs of a driver and lib/pq 1.12 does not do. Each part exists for one behaviour of
// lib/pq or database/sql, and can go when that changes:
//
//   - statement_cache.go: lib/pq takes two round trips for a statement with arguments. A driver that keeps prepared statements, as pgx
//     does, makes it unnecessary.
//   - socket.go: lib/pq reports driver.ErrBadConn when a reply is lost, and database/sql then executes the statement again. It would be
//     unnecessary if lib/pq reported that only for statements that were not sent.
//   - cancel.go: database/sql and lib/pq each start a goroutine with every statement whose context can end. It would be unnecessary if
//     both used context.AfterFunc.
//   - copy.go: lib/pq takes the values of a COPY one row at a time through database/sql, which copies each value twice.
package libpq
