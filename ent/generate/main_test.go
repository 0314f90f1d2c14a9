package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"entgo.io/ent"
	"entgo.io/ent/entc/gen"
	"entgo.io/ent/entc/load"

	"github.com/softbee/accounts/ent/generate/testdata/shop"
	"github.com/softbee/accounts/ent/schema"
)

var update = flag.Bool("update", false, "write the golden files")

// The declared schema of an extended copy of the project's, with a column, enums, checks, indexes and every kind of edge. What
// becomes of these files in a database is tried in infra/migration.
func TestDesiredStateOfAnExtendedSchema(t *testing.T) {
	states := declared(t, shop.Device{}, shop.Identity{}, shop.Team{}, shop.User{})
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
	states := declared(t, schema.AccountEvent{}, schema.Identity{}, schema.User{}) // an entity that lacks here is in the file
	for _, database := range databases {
		got, file := states[database], "../migrate/schema."+fileName(database)+".sql"
		if want, err := os.ReadFile(file); err != nil || got != string(want) {
			t.Errorf("%s is not fresh (%v); run: go generate ./ent", file, err)
		}
	}
}

// declared returns the desired states of entities, in the order of their names. Ent's own way to them compiles a program.
func declared(t *testing.T, entities ...ent.Interface) map[string]string {
	t.Helper()
	schemas := make([]*load.Schema, len(entities))
	for i, entity := range entities {
		text, err := load.MarshalSchema(entity)
		if err != nil {
			t.Fatal(err)
		}
		if schemas[i], err = load.UnmarshalSchema(text); err != nil {
			t.Fatal(err)
		}
	}
	graph, err := gen.NewGraph(&gen.Config{}, schemas...)
	if err != nil {
		t.Fatal(err)
	}
	states, err := desiredStates(graph)
	if err != nil {
		t.Fatal(err)
	}
	return states
}
