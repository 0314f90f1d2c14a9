package main

import (
	"go/format"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSkeletonIsTidy looks at what each template becomes: Go that is formatted, and the version of Go that this module asks for.
func TestSkeletonIsTidy(t *testing.T) {
	app := application{Name: "shop", Module: "example.org/shop", Version: "v1.2.3", Source: `/a "quoted" place`}
	err := fs.WalkDir(skeletons, "skeleton", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := app.fill(name)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".go.tmpl") {
			formatted, err := format.Source(text)
			if err != nil {
				return err
			}
			if string(formatted) != string(text) {
				t.Errorf("%s is not formatted", name)
			}
		}
		if strings.Contains(string(text), "{{") {
			t.Errorf("%s has a template left in it", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := app.fill("skeleton/go.mod.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^go .*$`)
	if want, got := line.FindString(string(ours)), line.FindString(string(theirs)); got != want || want == "" {
		t.Errorf("the application's go.mod says %q; ours says %q", got, want)
	}
	if !strings.Contains(string(theirs), `replace github.com/softbee/accounts => "/a \"quoted\" place"`) {
		t.Errorf("go.mod is %s", theirs)
	}
}
