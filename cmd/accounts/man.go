package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (p *program) manCommand(root *cobra.Command) *cobra.Command {
	const example = `accounts man ~/.local/share/man/man1
man accounts-user-create`
	return p.command("man DIR", "Write the manual pages of all commands into a directory, which is made if it is not there", example, cobra.ExactArgs(1),
		func(_ context.Context, args []string) error {
			dir := args[0]
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // manuals are for everybody to read
				return invalid("dir", "cannot be made: "+systemReason(err))
			}
			root.DisableAutoGenTag = true // or it would hold the day
			header := &doc.GenManHeader{Section: "1", Manual: "accounts", Source: "accounts " + root.Version, Date: committed()}
			if err := doc.GenManTree(root, header, dir); err != nil {
				return invalid("dir", "cannot be written: "+systemReason(err))
			}
			pages, err := filepath.Glob(filepath.Join(dir, "accounts*.1"))
			if err != nil {
				return invalid("dir", "cannot be read")
			}
			return p.print(record{{"dir", dir}, {"pages", len(pages)}})
		})
}

// committed returns when the source of this program was committed, or nil if Go did not record that. The same program thus writes the same pages.
func committed() *time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.time" {
			if at, err := time.Parse(time.RFC3339, setting.Value); err == nil {
				return &at
			}
		}
	}
	return nil
}
