package infra

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/softbee/accounts"

// mayImport says for each part of the module, by the longest prefix, which modules and parts its packages may import beside
// the standard library. It is the architecture: change it only with the design in docs/decisions.md.
var mayImport = map[string][]string{
	"ent/schema":                  {"entgo.io/ent", "github.com/google/uuid"},
	"domain":                      {module + "/domain/entry", "github.com/google/uuid", "golang.org/x/text", "golang.org/x/net/idna"},
	"domain/entry":                {},
	"domain/domaintest":           {module + "/domain"},
	"infra":                       {module + "/domain", module + "/domain/entry", module + "/ent", "entgo.io/ent", "github.com/google/uuid", module + "/infra/migration", module + "/infra/internal/fault", module + "/infra/internal/identifier"},
	"infra/internal/fault":        {module + "/domain"},
	"infra/internal/copytext":     {},
	"infra/internal/identifier":   {},
	"infra/internal/journeytest":  {},
	"infra/internal/atlastest":    {},
	"infra/internal/rowtest":      {module + "/ent/migrate", "entgo.io/ent", "github.com/google/uuid"},
	"infra/entaccounts":           {module + "/ent/migrate/desired", module + "/ent/schema", module + "/ent/user", "entgo.io/ent", "ariga.io/atlas/sql/schema"},
	"infra/migration":             {module + "/domain", module + "/infra/internal/fault", module + "/infra/internal/identifier", module + "/infra/migration/internal/script", "ariga.io/atlas/sql/migrate"},
	"infra/migration/plan":        {module + "/domain", module + "/infra/internal/identifier", module + "/infra/migration", module + "/infra/migration/internal/script", "ariga.io/atlas"},
	"infra/adoption":              {module + "/domain", module + "/infra/internal/fault", module + "/infra/internal/identifier", module + "/ent/migrate/desired", module + "/ent/migrate/postgres", module + "/ent/migrate/sqlite", module + "/infra/migration", "ariga.io/atlas", "github.com/google/uuid", "golang.org/x/text"},
	"infra/bulk":                  {module + "/domain", "github.com/go-json-experiment/json"},
	"infra/postgres":              {module + "/infra", module + "/infra/migration", module + "/infra/postgres/internal/libpq"},
	"infra/postgres/internal":     {module + "/domain", module + "/infra", module + "/infra/internal/copytext", "github.com/lib/pq"},
	"infra/pgx":                   {module + "/domain", module + "/infra", module + "/infra/migration", module + "/infra/internal/copytext", "github.com/jackc/pgx/v5"},
	"infra/sqlite":                {module + "/domain", module + "/infra", module + "/infra/internal/fault", module + "/infra/migration", module + "/infra/sqlite/internal/modernc", "modernc.org/sqlite"},
	"infra/internal/postgrestest": {"github.com/lib/pq"},
	"infra/audit":                 {module + "/domain", module + "/ent/accountevent", module + "/infra", module + "/infra/migration"},
	"infra/otel":                  {module + "/domain", module + "/infra", "go.opentelemetry.io/otel"},
	"docs/pictures":               {module + "/ent/migrate", "entgo.io/ent"},
	"docs/start":                  {module + "/domain", module + "/infra", module + "/infra/password", module + "/infra/sqlite"},
	"infra/storetest":             {module + "/domain", module + "/infra", module + "/infra/postgres", module + "/infra/sqlite", module + "/infra/internal/postgrestest"},
	"infra/password":              {module + "/domain", "golang.org/x/crypto", "golang.org/x/text", "github.com/go-crypt", "golang.org/x/sync"},
}

// free are the parts that may import anything: what is generated, and the command that wires everything.
var free = []string{"ent", "cmd/accounts"}

func TestImportTable(t *testing.T) {
	root := moduleRoot(t)
	seen := make(map[string]bool)
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if strings.HasPrefix(entry.Name(), ".") && file != root || entry.Name() == "testdata" || isOtherModule(root, file) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		relative, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		part, allowed := rule(filepath.ToSlash(relative))
		if part == "" {
			t.Errorf("%s: the import table has no rule for this directory", relative)
			return nil
		}
		seen[part] = true
		if allowed == nil {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !isStandard(imported) && !within(imported, allowed) {
				t.Errorf("%s imports %s, which the import table does not allow for %s", path.Join(filepath.ToSlash(relative), filepath.Base(file)), imported, part)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for part := range mayImport {
		if !seen[part] {
			t.Errorf("the import table has a rule for %s, which has no Go file", part)
		}
	}
}

// rule returns the longest part of the table that contains a directory, and its allowance; nil allows all.
func rule(directory string) (part string, allowed []string) {
	for candidate, imports := range mayImport {
		if contains(candidate, directory) && len(candidate) > len(part) {
			part, allowed = candidate, imports
		}
	}
	for _, candidate := range free {
		if contains(candidate, directory) && len(candidate) > len(part) {
			part, allowed = candidate, nil
		}
	}
	return part, allowed
}

func contains(part, directory string) bool {
	return directory == part || strings.HasPrefix(directory, part+"/")
}

func within(imported string, allowed []string) bool {
	for _, prefix := range allowed {
		// The generated client may be imported below ent/, but a package of ours only by its own name.
		if imported == prefix || strings.HasPrefix(imported, prefix+"/") && (!strings.HasPrefix(prefix, module) || prefix == module+"/ent") {
			return true
		}
	}
	return false
}

func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// isOtherModule tells whether a directory is the root of a module nested in this one.
func isOtherModule(root, directory string) bool {
	_, err := os.Stat(filepath.Join(directory, "go.mod"))
	return err == nil && directory != root
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	directory, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			return directory
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			t.Fatal("no go.mod above the working directory")
		}
		directory = parent
	}
}

// TestEntsClientStaysOut keeps ent's generated client, and with it Atlas, out of programs that open a store: the store needs only the
// names of what is stored. They and the domain's state of an account meet in the mapper alone.
func TestEntsClientStaysOut(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if spec.Path.Value == strconv.Quote(module+"/ent") {
				t.Errorf("%s imports ent's client", file)
			}
		}
	}
}
