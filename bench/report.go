package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// setting is what results can be compared in.
type setting struct {
	rows      int
	latencyMS float64
	workers   int
	ids       ids
}

func (s setting) String() string {
	text := fmt.Sprintf("%d rows, %d workers", s.rows, s.workers)
	if s.workers == 1 {
		text = fmt.Sprintf("%d rows, 1 worker", s.rows)
	}
	if s.latencyMS > 0 {
		text += fmt.Sprintf(", %v ms of latency", s.latencyMS)
	}
	if s.ids == v7 {
		text += ", UUIDs of version 7"
	}
	return text
}

// byOperation are the results of one setting, by operation and system.
type byOperation map[string]map[string]result

// results are the lines of a file.
type results struct {
	settings []setting
	of       map[setting]byOperation
	sizes    []size
}

func readResults(path string) (results, error) {
	all := results{of: make(map[setting]byOperation)}
	file, err := os.Open(path)
	if err != nil {
		return all, err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r result
		var z size
		if err := errors.Join(json.Unmarshal(lines.Bytes(), &r), json.Unmarshal(lines.Bytes(), &z)); err != nil {
			return all, err
		}
		if z.Relation != "" {
			all.sizes = append(all.sizes, z)
			continue
		}
		s := setting{r.Rows, r.LatencyMS, r.Workers, r.IDs}
		if all.of[s] == nil {
			all.of[s] = make(byOperation)
			all.settings = append(all.settings, s)
		}
		if all.of[s][r.Operation] == nil {
			all.of[s][r.Operation] = make(map[string]result)
		}
		all.of[s][r.Operation][r.System] = r
	}
	return all, lines.Err()
}

// writeReport writes tables and plots of the results in a file.
func writeReport(path, docs string) error {
	all, err := readResults(path)
	if err != nil {
		return err
	}
	var report strings.Builder
	for _, s := range all.settings {
		all.writeTables(&report, s)
		if docs == "" {
			continue
		}
		name := fmt.Sprintf("%d-rows-%d-workers-%v-ms.svg", s.rows, s.workers, s.latencyMS)
		if s.ids == v7 {
			name = "uuid-v7-" + name
		}
		if err := os.WriteFile(filepath.Join(docs, name), plot(s, all.of[s]), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(&report, "![Mean time of one operation, %s](%s)\n\n", s, name)
	}
	all.writeSizes(&report)
	if docs == "" {
		_, err = os.Stdout.WriteString(report.String())
		return err
	}
	return os.WriteFile(filepath.Join(docs, "report.md"), []byte(report.String()), 0o600)
}

func (all results) writeTables(out *strings.Builder, s setting) {
	fmt.Fprintf(out, "### %s\n\n", s)
	store := func(operation string) result { return all.of[s][operation][systemNames[0]] }
	all.writeTable(out, s, func(r result) string {
		cell := fmt.Sprintf("%.0f µs (%.0f %%, %.0f)", r.Mean, 100*r.Spread, r.CPU)
		if of := store(r.Operation); r.System != of.System && of.Mean > 0 {
			cell += fmt.Sprintf(" %.2f×", of.Mean/r.Mean)
		}
		return cell
	})
	near := s
	near.latencyMS = 0
	if s.latencyMS == 0 || all.of[near] == nil {
		return
	}
	fmt.Fprint(out, "Divided by the sum of the latency and the time without it:\n\n")
	all.writeTable(out, s, func(r result) string {
		without, ok := all.of[near][r.Operation][r.System]
		if !ok {
			return ""
		}
		return fmt.Sprintf("%.2f", r.Mean/(1000*r.MeasuredMS+without.Mean))
	})
}

// writeTable writes a line for each operation and in it a cell for each system.
func (all results) writeTable(out *strings.Builder, s setting, cell func(result) string) {
	fmt.Fprintf(out, "| operation | %s |\n|%s\n", strings.Join(systemNames, " | "), strings.Repeat(" --- |", len(systemNames)+1))
	for _, operation := range operationNames {
		if all.of[s][operation] == nil {
			continue
		}
		fmt.Fprintf(out, "| %s |", operation)
		for _, name := range systemNames {
			if r, ok := all.of[s][operation][name]; ok {
				fmt.Fprintf(out, " %s", cell(r))
			}
			fmt.Fprint(out, " |")
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
}

func (all results) writeSizes(out *strings.Builder) {
	if len(all.sizes) == 0 {
		return
	}
	fmt.Fprint(out, "### Sizes\n\n| relation | UUIDs | accounts | MB | bytes for each account |\n| --- | --- | --- | --- | --- |\n")
	for _, z := range all.sizes {
		fmt.Fprintf(out, "| %s | %s | %d | %.1f | %.0f |\n", z.Relation, z.IDs, z.Accounts, float64(z.Bytes)/1e6, float64(z.Bytes)/float64(z.Accounts))
	}
	fmt.Fprintln(out)
}

// plot draws a bar for each operation and system, as long as the mean time, in SVG.
func plot(s setting, found byOperation) []byte {
	const (
		left, width, bar, gap = 110, 560, 9, 12
		top                   = 46
	)
	colors := []string{"#1b6ca8", "#7fb069", "#3d7a3d", "#e6aa68", "#ca3c25", "#8d6a9f", "#8c564b", "#777777"}
	longest := 0.0
	var shown []string
	for _, operation := range operationNames {
		if len(found[operation]) == 0 {
			continue
		}
		shown = append(shown, operation)
		for _, r := range found[operation] {
			longest = max(longest, r.Mean)
		}
	}
	height := top + len(shown)*(len(systemNames)*bar+gap)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="9">`, left+width+60, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="16" font-size="12">Mean time of one operation, µs: %s</text>`, s)
	for i, name := range systemNames {
		fmt.Fprintf(&b, `<rect x="%d" y="24" width="9" height="9" fill="%s"/><text x="%d" y="32">%s</text>`, left+i*70, colors[i%len(colors)], left+i*70+13, name)
	}
	y := top
	for _, operation := range shown {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-size="10">%s</text>`, left-8, y+len(systemNames)*bar/2+3, operation)
		for i, name := range systemNames {
			if r, ok := found[operation][name]; ok {
				length := r.Mean / longest * width
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="8">%.0f</text>`,
					left, y, length, bar-1, colors[i%len(colors)], left+length+3, y+bar-2, r.Mean)
			}
			y += bar
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
