package main

import (
	"crypto/fips140"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"
)

// Set by the Makefile; a build by `go install` tells by its module version.
var version, commit string

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	FIPS    bool   `json:"fips"`
}

func thisVersion() versionInfo {
	v := versionInfo{Version: version, Commit: commit, Go: runtime.Version(), FIPS: fips140.Enabled()}
	if info, ok := debug.ReadBuildInfo(); ok && v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Tell version, commit, Go and FIPS state",
		Example: "  sangate version --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := thisVersion()
			if asJSON {
				return printJSON(cmd, v)
			}
			fips := "off"
			if v.FIPS {
				fips = "on"
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "sangate %s (commit %s, %s, FIPS 140 %s)\n", v.Version, v.Commit, v.Go, fips)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printJSON(cmd *cobra.Command, v any) error {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), escaped(string(out)))
	return err
}

// escaped writes what a terminal would act on, or show as something else, as JSON
// has it in texts; elsewhere there is none.
func escaped(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case unicode.IsPrint(c) || c == '\n':
			b.WriteRune(c)
		default:
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	return b.String()
}
