package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"entgo.io/ent/dialect"
)

var update = flag.Bool("update", false, "write the golden files")

// The declared schema of an extended copy of the project's, with a column, enums, checks, indexes and every kind of edge. What
// becomes of these files in a database is tried in infra/migration.
func TestDesiredStateOfAnExtendedSchema(t *testing.T) {
	for _, database := range []string{dialect.Postgres, dialect.SQLite} {
		t.Run(database, func(t *testing.T) {
			got, err := desiredState("./testdata/shop", database)
			if err != nil {
				t.Fatal(err)
			}
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
	for _, database := range []string{dialect.Postgres, dialect.SQLite} {
		got, err := desiredState("../schema", database)
		if err != nil {
			t.Fatal(err)
		}
		file := "../migrate/schema." + fileName(database) + ".sql"
		if want, err := os.ReadFile(file); err != nil || got != string(want) {
			t.Errorf("%s is not fresh (%v); run: go generate ./ent", file, err)
		}
	}
}
