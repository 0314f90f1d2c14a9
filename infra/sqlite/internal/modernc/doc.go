// Package modernc makes the driver modernc.org/sqlite do what the store needs of a driver and version 1.61 of it does not do:
//
//   - statement_cache.go: the driver compiles a statement each time that it is executed, which takes longer than to execute a statement on one
//     account. A driver that keeps the statements of a connection makes it unnecessary.
package modernc
