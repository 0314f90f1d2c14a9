package main

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	return p.command("version", "Print the version of this program", "accounts --json version", cobra.NoArgs, func(context.Context, []string) error {
		version, commit, toolchain := build()
		return p.print(record{{"version", version}, {"commit", orNull(commit)}, {"go", toolchain}})
	})
}

// build returns what Go recorded when it built the program; without version control, commit is empty.
func build() (version, commit, toolchain string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)", "", ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			commit = setting.Value
		}
	}
	return info.Main.Version, commit, info.GoVersion
}
