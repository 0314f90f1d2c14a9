package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// setting is what results can be compared in.
type setting struct {
	rows      int
	latencyMS float64
	workers   int
}

func (s setting) String() string {
	text := fmt.Sprintf("%d rows, %d workers", s.rows, s.workers)
	if s.workers == 1 {
		text = fmt.Sprintf("%d rows, 1 worker", s.rows)
	}
	if s.latencyMS > 0 {
		text += fmt.Sprintf(", %v ms of latency", s.latencyMS)
	}
	return text
}

// writeReport writes tables and plots of the results in a file.
func writeReport(results, docs string) error {
	file, err := os.Open(results)
	if err != nil {
		return err
	}
	defer file.Close()
	found := make(map[setting]map[string]map[string]result) // operation, system
	var settings []setting
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		s := setting{r.Rows, r.LatencyMS, r.Workers}
		if found[s] == nil {
			found[s] = make(map[string]map[string]result)
			settings = append(settings, s)
		}
		if found[s][r.Operation] == nil {
			found[s][r.Operation] = make(map[string]result)
		}
		found[s][r.Operation][r.System] = r
	}
	if docs == "" {
		for _, s := range settings {
			writeTable(os.Stdout, s, found[s])
		}
		return nil
	}
	report, err := os.Create(filepath.Join(docs, "report.md"))
	if err != nil {
		return err
	}
	defer report.Close()
	for _, s := range settings {
		writeTable(report, s, found[s])
		name := fmt.Sprintf("%d-rows-%d-workers-%v-ms.svg", s.rows, s.workers, s.latencyMS)
		if err := os.WriteFile(filepath.Join(docs, name), plot(s, found[s]), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(report, "![Median time for one operation, %s](performance/%s)\n\n", s, name)
	}
	return nil
}

// writeTable writes, for each operation, the median time and the client's processor time of each system, and the ratio of the
// store's median time to the other's.
func writeTable(out io.Writer, s setting, found map[string]map[string]result) {
	fmt.Fprintf(out, "### %s\n\n| operation |", s)
	for _, name := range systemNames {
		fmt.Fprintf(out, " %s |", name)
	}
	fmt.Fprintf(out, " spread |\n|%s\n", strings.Repeat(" --- |", len(systemNames)+2))
	for _, operation := range operationNames {
		results := found[operation]
		if results == nil {
			continue
		}
		fmt.Fprintf(out, "| %s |", operation)
		spread := 0.0
		for _, name := range systemNames {
			r, ok := results[name]
			switch {
			case !ok:
				fmt.Fprint(out, " |")
			case name == systemNames[0]:
				fmt.Fprintf(out, " %.0f µs (%.0f) |", r.P50, r.CPU)
			default:
				fmt.Fprintf(out, " %.0f (%.0f) %.2f× |", r.P50, r.CPU, results[systemNames[0]].P50/r.P50)
			}
			spread = max(spread, r.Spread)
		}
		fmt.Fprintf(out, " %.0f %% |\n", 100*spread)
	}
	fmt.Fprintln(out)
}

// plot draws a bar for each operation and system, as long as the median time, in SVG.
func plot(s setting, found map[string]map[string]result) []byte {
	const (
		left, width, bar, gap = 110, 560, 9, 12
		top                   = 46
	)
	colors := []string{"#1b6ca8", "#7fb069", "#3d7a3d", "#e6aa68", "#ca3c25", "#8d6a9f"}
	longest := 0.0
	var shown []string
	for _, operation := range operationNames {
		if len(found[operation]) == 0 {
			continue
		}
		shown = append(shown, operation)
		for _, r := range found[operation] {
			longest = max(longest, r.P50)
		}
	}
	height := top + len(shown)*(len(systemNames)*bar+gap)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="9">`, left+width+60, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="16" font-size="12">Median time for one operation, µs: %s</text>`, s)
	for i, name := range systemNames {
		fmt.Fprintf(&b, `<rect x="%d" y="24" width="9" height="9" fill="%s"/><text x="%d" y="32">%s</text>`, left+i*70, colors[i], left+i*70+13, name)
	}
	y := top
	for _, operation := range shown {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-size="10">%s</text>`, left-8, y+len(systemNames)*bar/2+3, operation)
		for i, name := range systemNames {
			if r, ok := found[operation][name]; ok {
				length := r.P50 / longest * width
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="8">%.0f</text>`,
					left, y, length, bar-1, colors[i], left+length+3, y+bar-2, r.P50)
			}
			y += bar
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
