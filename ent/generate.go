// Package ent is the generated client of the schema in ent/schema. It is an implementation detail of infra: importers
// get no promise about it.
package ent

//go:generate go run ./generate
