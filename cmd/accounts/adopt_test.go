package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/postgres"
	"github.com/softbee/accounts/infra/sqlite"
	"github.com/softbee/accounts/infra/storetest"
)

// TestAdoptScripts runs the scripts in testdata/adopt, each on a database with the predecessor's table and Django's, with
// the mapping for the latter in django.json.
func TestAdoptScripts(t *testing.T) {
	storetest.PostgresServer(t) // skips here where there is none, rather than in each script
	tables, err := filepath.Abs("../../infra/adoption/testdata")
	if err != nil {
		t.Fatal(err)
	}
	tables += "/"
	forRun(t)
	testscript.Run(t, testscript.Params{
		Files:               scripts(t, "testdata/adopt"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			url := storetest.EmptyPostgresURL(env.T().(testing.TB)) // it is one in a script that Run started
			env.Setenv(databaseVariable, url)
			mapping, err := os.ReadFile(tables + "django.json")
			if err != nil {
				return err
			}
			return errors.Join(
				os.WriteFile(filepath.Join(env.WorkDir, "django.json"), mapping, 0o600),
				execute(t, url, tables+"softbee_users.sql"),
				execute(t, url, tables+"django.sql"),
				lay(t, filepath.Join(env.WorkDir, "old.db"), tables+"softbee_users.sql"),
			)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"run": scriptRun, "capture": scriptCapture},
	})
}

// execute runs the statements of a file.
func execute(t *testing.T, databaseURL, path string) error {
	store, err := postgres.Open(t.Context(), databaseURL)
	if err != nil {
		return err
	}
	return executeIn(t, store, path)
}

// lay does so in a file of SQLite.
func lay(t *testing.T, database, path string) error {
	store, err := sqlite.Open(t.Context(), database)
	if err != nil {
		return err
	}
	return executeIn(t, store, path)
}

func executeIn(t *testing.T, store *infra.Store, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	_, err = store.DB().ExecContext(t.Context(), string(text))
	return errors.Join(err, store.Close())
}
