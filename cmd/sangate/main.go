// Command sangate is an MCP tool server and gateway that lets a call through
// only when client certificate, Bearer token and tenant header agree.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes (contract, section 1).
const (
	exitFailed = 1 // while running
	exitUsage  = 2 // bad usage or configuration
	exitNo     = 3 // the answer is no
)

// A codeError is an error with an exit code of its own.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func usage(err error) error { return &codeError{exitUsage, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C kills
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, "sangate: "+strings.ReplaceAll(text, "\n", "\nsangate: "))
	}
	if ce, ok := errors.AsType[*codeError](err); ok {
		return ce.code
	}
	return exitFailed
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "sangate",
		Short:         "MCP tool server and gateway: client certificate, token and tenant must agree",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("unknown command %q; see `sangate --help`", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath()))
	})
	root.AddCommand(devCommand(), serveCommand(), checkCommand(), explainCommand(), doctorCommand(), tokenCommand(), credentialCommand(), stateCommand(), certCommand(), versionCommand())
	return root
}

// noArgs refuses arguments with exit code 2.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("%s takes no argument, got %q; see `%s --help`", cmd.CommandPath(), args[0], cmd.CommandPath()))
	}
	return nil
}
