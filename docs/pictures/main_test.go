package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate"
)

func TestPicturesAreFresh(t *testing.T) {
	drawn := pictures()
	for name, want := range drawn {
		got, err := os.ReadFile(name)
		if err != nil || strings.ReplaceAll(string(got), "\r\n", "\n") != want {
			t.Errorf("%s is not fresh (%v); run: go generate ./docs/pictures", name, err)
		}
	}
	files, err := filepath.Glob("*.svg")
	if err != nil || len(files) != len(drawn) {
		t.Errorf("%d pictures; want %d (%v)", len(files), len(drawn), err)
	}
}

func TestPicturesAreXML(t *testing.T) {
	for name, text := range pictures() {
		decoder := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// Every column is drawn.
func TestEntityDiagramIsComplete(t *testing.T) {
	drawn := entities()
	for _, table := range migrate.Tables {
		if !strings.Contains(drawn, ">"+table.Name+"<") {
			t.Errorf("%s is not drawn", table.Name)
		}
		for _, column := range table.Columns {
			if !strings.Contains(drawn, ">"+column.Name+"<") {
				t.Errorf("%s.%s is not drawn", table.Name, column.Name)
			}
		}
	}
}

// What the pictures name exists: packages and files, methods of sessions, kinds of errors.
func TestPicturesNameWhatExists(t *testing.T) {
	methods, err := os.ReadFile("../../domain/session_store.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, kind := range []domain.Kind{domain.ErrTokenExpired, domain.ErrTokenInvalid} {
		kinds[kind.Error()] = true
	}
	name := regexp.MustCompile(`\b(?:Issue|Rotate|Revoke|Sweep)[A-Z][A-Za-z]+`)
	kind := regexp.MustCompile(`\btoken_[a-z]+`)
	source := regexp.MustCompile(`\binfra/[a-z/]+(?:\.go)?`)
	for _, d := range []diagram{session, statement} {
		places := map[string]bool{"driver": true, "database": true}
		for _, b := range d.boxes {
			places[b.id] = true
			for _, line := range b.lines {
				for _, found := range source.FindAllString(line, -1) {
					if _, err := os.Stat("../../" + found); err != nil {
						t.Error(err)
					}
				}
				for _, found := range kind.FindAllString(line, -1) {
					if !kinds[found] {
						t.Errorf("no kind is %s", found)
					}
				}
			}
		}
		for _, a := range d.arrows {
			if !places[a.from] || !places[a.to] {
				t.Errorf("an arrow from %s to %s, of which one is not there", a.from, a.to)
			}
			for _, found := range name.FindAllString(strings.Join(a.lines, " "), -1) {
				if !strings.Contains(string(methods), "\t"+found+"(") {
					t.Errorf("domain/session_store.go has no method %s", found)
				}
			}
		}
	}
}
