// Package ent is the generated client of the application.
package ent

//go:generate go run ./generate
