// Package migrate is what ent generates of the declared schema. The schema itself, as SQL, is in the package desired, and the migrations
// are in the packages postgres and sqlite, so that a program that uses those does not link what ent and Atlas need to plan.
package migrate
