// Testsummary reads what "go test -json" writes, prints what "go test" would, and says in the last lines how many tests passed,
// failed and were skipped, and why: so that a run without PostgreSQL is not taken for a whole one.
//
//	go test -json ./... | go run ./.ci/testsummary [-skips none|some]
//
// It exits with 1 if a test failed, if no test ran, if the input is not such output, or if there are skips where -skips says
// none, or none where it says some.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("skips", "any", "what is demanded of skips: any, none or some")
	flag.Parse()
	if !summarize(os.Stdin, os.Stdout, *skips) {
		os.Exit(1)
	}
}

// event is a line of "go test -json"; see "go doc test2json" and, for the ImportPath of a build, "go help buildjson".
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// summarize returns whether all is well.
func summarize(in io.Reader, out io.Writer, demand string) bool {
	output := map[[2]string][]string{} // of each test that has not ended
	reasons := map[string]int{}
	passed, failed, skipped, broken := 0, 0, 0, 0
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err != nil {
			break
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			fmt.Fprint(out, line)
			continue
		}
		test := [2]string{e.Package, e.Test}
		switch e.Action {
		case "output":
			if e.Test != "" {
				output[test] = append(output[test], e.Output)
			} else if e.Output != "PASS\n" {
				fmt.Fprint(out, e.Output)
			}
			continue
		case "build-output":
			fmt.Fprint(out, e.Output)
			continue
		case "fail":
			if e.Test == "" {
				broken++ // a package: one of its tests failed, or it was not built, or it exited
				continue
			}
			failed++
			fmt.Fprint(out, strings.Join(output[test], ""))
		case "pass":
			if e.Test != "" {
				passed++
			}
		case "skip":
			if e.Test != "" {
				skipped++
				reasons[reason(output[test])]++
			}
		default:
			continue
		}
		delete(output, test)
	}

	for test, text := range output { // it ended with its process
		fmt.Fprintf(out, "%s %s did not end:\n%s", test[0], test[1], strings.Join(text, ""))
	}
	fmt.Fprintf(out, "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	causes := make([]string, 0, len(reasons))
	for cause := range reasons {
		causes = append(causes, cause)
	}
	slices.SortFunc(causes, func(a, b string) int { return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b)) })
	for _, cause := range causes {
		fmt.Fprintf(out, "  %d skipped: %s\n", reasons[cause], cause)
	}
	if passed == 0 {
		fmt.Fprintln(out, "no test ran")
	}
	wrong := demand == "none" && skipped > 0 || demand == "some" && skipped == 0
	if wrong {
		fmt.Fprintf(out, "%d skips; want %s\n", skipped, demand)
	}
	return broken == 0 && failed == 0 && passed > 0 && !wrong
}

var (
	place   = regexp.MustCompile(`^ +[^ ]+\.go:\d+: `)
	framing = regexp.MustCompile(`^ *(=== |--- )`)
)

// reason returns why a test was skipped, from its output.
func reason(output []string) string {
	var words []string
	for line := range strings.SplitSeq(strings.Join(output, ""), "\n") {
		if !framing.MatchString(line) && strings.TrimSpace(line) != "" {
			words = append(words, strings.TrimSpace(place.ReplaceAllString(line, "")))
		}
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.Join(words, " ")
}
