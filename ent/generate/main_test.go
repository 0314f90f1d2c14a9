package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// The declared schema of an extended copy of the project's, with a column, enums, checks, indexes and every kind of edge. What
// becomes of these files in a database is tried in infra/migration.
func TestDesiredStateOfAnExtendedSchema(t *testing.T) {
	states, err := desiredStates("./testdata/shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, database := range databases {
		t.Run(database, func(t *testing.T) {
			got := states[database]
			golden := filepath.Join("testdata", "shop."+fileName(database)+".sql")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what is declared; if it is meant, run with -update:\n%s", golden, got)
			}
		})
	}
}

// What the project's own schema declares is what is committed.
func TestDesiredStateIsFresh(t *testing.T) {
	states, err := desiredStates("../schema")
	if err != nil {
		t.Fatal(err)
	}
	for _, database := range databases {
		got, file := states[database], "../migrate/schema."+fileName(database)+".sql"
		if want, err := os.ReadFile(file); err != nil || got != string(want) {
			t.Errorf("%s is not fresh (%v); run: go generate ./ent", file, err)
		}
	}
}
