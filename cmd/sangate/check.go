package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/material"
)

func checkCommand() *cobra.Command {
	var flags configFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "check --config FILE",
		Short:   "Validate a configuration: every error at once, each with its place",
		Example: "  sangate check --config sangate.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			c, err := config.Check(flags.file, flags.set)
			problems, bad := errors.AsType[config.Problems](err)
			if err != nil && !bad {
				return usage(err)
			}
			switch {
			case asJSON:
				if problems == nil {
					problems = config.Problems{}
				}
				if err := printJSON(cmd, problems); err != nil {
					return err
				}
			case bad:
				for _, p := range problems {
					fmt.Fprintln(cmd.ErrOrStderr(), p.Error())
				}
			default:
				fmt.Fprintln(cmd.OutOrStdout(), flags.file+": ok")
			}
			if !bad {
				for _, w := range append(material.LookWarnings(c, time.Now), nameWarnings(c)...) {
					fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
				}
			}
			if bad {
				return usage(fmt.Errorf("%s: %d problems", flags.file, len(problems)))
			}
			return nil
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON on standard output")
	return cmd
}
