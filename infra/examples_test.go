package infra_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

// shown are the packages whose functions and methods have examples, so that pkg.go.dev shows how each is used.
var shown = []string{
	"domain", "domain/domaintest", "infra", "infra/adoption", "infra/audit", "infra/bulk", "infra/entaccounts", "infra/migration", "infra/migration/plan",
	"infra/otel", "infra/password", "infra/pgx", "infra/postgres", "infra/sqlite", "infra/storetest",
}

// needNone are functions and methods without an example, with the reason.
var needNone = map[string]string{
	"infra.ConnectFailure": "for the packages of drivers, which return it as it is",
	"infra.WithReplicas":   "for the packages of drivers, whose functions of that name have one",
}

// byOthers are the names of methods that the standard library or a database calls.
var byOthers = []string{
	"Error", "Unwrap", "String", "Format", "LogValue", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON", "Scan", "Value",
}

// TestEveryFunctionHasAnExample lists the exported functions and methods, and fails for one that no Example of its package calls. Where several
// types of the package have a method of that name, the Example must be one of the type. Getters, which take nothing and return one value,
// explain themselves.
func TestEveryFunctionHasAnExample(t *testing.T) {
	excepted := map[string]bool{}
	with := 0
	for _, dir := range shown {
		p := documented(t, dir)
		examples := examplesOf(p)
		types := map[string]int{} // by the name of a method, how many types have it
		for _, typ := range p.Types {
			for _, m := range methods(typ) {
				types[m.Name]++
			}
		}
		report := func(name string, found bool) {
			full := dir + "." + name
			switch reason := needNone[full]; {
			case found && reason != "":
				t.Errorf("%s has an example, and a reason why it needs none", full)
			case found:
				with++
				t.Logf("%s has an example", full)
			case reason == "":
				t.Errorf("%s has no example", full)
			default:
				t.Logf("%s needs none: %s", full, reason)
			}
			excepted[full] = !found
		}
		for _, f := range functions(p) {
			report(f.Name, slices.ContainsFunc(examples, func(e example) bool { return e.calls[path.Base(dir)+"."+f.Name] }))
		}
		for _, typ := range p.Types {
			for _, m := range methods(typ) {
				report(typ.Name+"."+m.Name, slices.ContainsFunc(examples, func(e example) bool {
					return e.calls["."+m.Name] && (types[m.Name] == 1 || e.of == typ.Name)
				}))
			}
		}
	}
	for name := range needNone {
		if !excepted[name] {
			t.Errorf("%s is excepted, and is not there", name)
		}
	}
	t.Logf("%d functions and methods with an example, %d without", with, len(needNone))
	if with < 200 {
		t.Errorf("%d functions and methods have been found, of more than 200", with)
	}
}

// documented reads a package and its tests as pkg.go.dev does.
func documented(t *testing.T, dir string) *doc.Package {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(dir), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/softbee/accounts/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// functions are those of a package, be they grouped with a type or not.
func functions(p *doc.Package) []*doc.Func {
	all := slices.Clone(p.Funcs)
	for _, typ := range p.Types {
		all = append(all, typ.Funcs...)
	}
	return all
}

// methods are those of a type that need an example. What a Tx has of the repository, Store has too.
func methods(typ *doc.Type) []*doc.Func {
	return slices.DeleteFunc(slices.Clone(typ.Methods), func(m *doc.Func) bool {
		return slices.Contains(byOthers, m.Name) || isGetter(m.Decl.Type) || typ.Name == "Tx" && m.Level > 0
	})
}

// example is an Example, the type that it is shown with, if any, and what it calls: F, package.F or .Method.
type example struct {
	of    string
	calls map[string]bool
}

func examplesOf(p *doc.Package) (all []example) {
	add := func(of string, examples []*doc.Example) {
		for _, e := range examples {
			all = append(all, example{of, callsIn(e.Code)})
		}
	}
	add("", p.Examples)
	for _, f := range p.Funcs {
		add("", f.Examples)
	}
	for _, typ := range p.Types {
		add(typ.Name, typ.Examples)
		for _, f := range slices.Concat(typ.Funcs, typ.Methods) {
			add(typ.Name, f.Examples)
		}
	}
	return all
}

// callsIn returns what a piece of code calls or passes on.
func callsIn(code ast.Node) map[string]bool {
	calls := map[string]bool{}
	ast.Inspect(code, func(n ast.Node) bool {
		if selected, ok := n.(*ast.SelectorExpr); ok {
			calls["."+selected.Sel.Name] = true
			if x, ok := selected.X.(*ast.Ident); ok {
				calls[x.Name+"."+selected.Sel.Name] = true
			}
		}
		return true
	})
	return calls
}

// isGetter tells whether a method takes nothing and returns one value, which is no error.
func isGetter(f *ast.FuncType) bool {
	if f.Params.NumFields() > 0 || f.Results.NumFields() != 1 {
		return false
	}
	result, ok := f.Results.List[0].Type.(*ast.Ident)
	return !ok || result.Name != "error"
}
