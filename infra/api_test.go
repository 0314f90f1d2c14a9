package infra_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const surfaceFile = "../docs/api.txt"

// TestPublicSurface holds docs/api.txt against all that the module exports, so that nothing becomes public, or ceases to be, without notice.
// Run it with -update to write the file.
func TestPublicSurface(t *testing.T) {
	var got bytes.Buffer
	err := filepath.WalkDir("..", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel("..", dir)
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && rel != "." {
			return filepath.SkipDir
		}
		switch name := entry.Name(); {
		case rel == ".":
			return nil
		case strings.HasPrefix(name, "."), name == "testdata", name == "internal", name == "docs", rel == "cmd":
			return filepath.SkipDir
		case rel == "ent": // of what is generated nothing is promised
			return nil
		case strings.HasPrefix(filepath.ToSlash(rel), "ent/") && rel != filepath.Join("ent", "schema"):
			return filepath.SkipDir
		}
		return printSurface(&got, dir, path.Join("github.com/softbee/accounts", filepath.ToSlash(rel)))
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(surfaceFile, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(surfaceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is stale; if the difference is intended: go test ./infra -run PublicSurface -update", surfaceFile)
		gotLines, wantLines := lineSet(got.String()), lineSet(string(want))
		for line := range gotLines {
			if !wantLines[line] {
				t.Log("it lacks: ", line)
			}
		}
		for line := range wantLines {
			if !gotLines[line] {
				t.Log("it still has: ", line)
			}
		}
	}
	if n := strings.Count(got.String(), "\n"); n < 500 {
		t.Errorf("%d lines only", n)
	}
}

func lineSet(text string) map[string]bool {
	lines := make(map[string]bool)
	for line := range strings.SplitSeq(text, "\n") {
		lines[line] = true
	}
	return lines
}

// printSurface prints a package's exported declarations, one a line but for structs and interfaces, each line with the package's path.
func printSurface(w *bytes.Buffer, dir, importPath string) error {
	context := build.Default
	context.GOOS, context.GOARCH = "linux", "amd64"
	found, err := context.ImportDir(dir, 0)
	if _, none := err.(*build.NoGoError); none { //nolint:errorlint // it is not wrapped
		return nil
	}
	if err != nil {
		return err
	}
	files := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range found.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(dir, name), nil, 0)
		if err != nil {
			return err
		}
		parsed = append(parsed, file)
	}
	p, err := doc.NewFromFiles(files, parsed, importPath)
	if err != nil {
		return err
	}
	var nodes []ast.Node
	values := func(list []*doc.Value) {
		for _, v := range list {
			nodes = append(nodes, v.Decl)
		}
	}
	functions := func(list []*doc.Func) {
		for _, f := range list {
			nodes = append(nodes, f.Decl)
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions(p.Funcs)
	for _, typ := range p.Types {
		nodes = append(nodes, typ.Decl)
		values(typ.Consts)
		values(typ.Vars)
		functions(typ.Funcs)
		functions(typ.Methods)
	}
	short := strings.TrimPrefix(importPath, "github.com/softbee/accounts/")
	for _, node := range nodes {
		var text bytes.Buffer
		if err := (&printer.Config{Mode: printer.RawFormat, Tabwidth: 8}).Fprint(&text, files, node); err != nil {
			return err
		}
		for line := range strings.SplitSeq(text.String(), "\n") {
			if line = strings.TrimRight(line, "\t "); strings.TrimSpace(line) != "" && !strings.HasPrefix(strings.TrimSpace(line), "//") {
				fmt.Fprintf(w, "%s: %s\n", short, line)
			}
		}
	}
	return nil
}
