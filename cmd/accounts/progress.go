package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/softbee/accounts/infra/migration"
)

// progress tells how far a long command is: with a bar on a terminal, otherwise with a line for each step, and not at all
// with --json, where errors must be all that is on standard error.
type progress struct {
	w        io.Writer
	terminal bool
}

func (o output) newProgress() progress {
	if o.json {
		return progress{w: io.Discard}
	}
	return progress{w: o.messages, terminal: screenOf(o.messages).terminal}
}

const clearLine = "\r\x1b[K"

// show tells that done of total are done, and what comes next.
func (p progress) show(done, total int, next string) {
	if !p.terminal {
		_, _ = fmt.Fprintln(p.w, next)
		return
	}
	const width = 20
	filled := width * done / max(total, 1)
	_, _ = fmt.Fprintf(p.w, "%s[%s%s] %s", clearLine, strings.Repeat("#", filled), strings.Repeat(".", width-filled), next)
}

// clear takes the bar away.
func (p progress) clear() {
	if p.terminal {
		_, _ = fmt.Fprint(p.w, clearLine)
	}
}

// migrating shows a statement that is about to be executed.
func (p progress) migrating(step migration.Step) {
	next := fmt.Sprintf("%s: statement %d of %d", step.File.Name, step.Statement, step.Statements)
	if step.Attempt > 1 {
		next += fmt.Sprintf(", attempt %d after waiting for a lock", step.Attempt)
	}
	p.show(step.Statement-1, step.Statements, next)
}
