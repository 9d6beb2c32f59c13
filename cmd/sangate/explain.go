package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/explain"
)

// maxTokenFile bounds what is read for a token.
const maxTokenFile = 64 << 10

func explainCommand() *cobra.Command {
	var flags configFlags
	var cert, token, tokenFile, header, toolName, at string
	var clientCA []string
	var admin, asJSON bool
	cmd := &cobra.Command{
		Use:   "explain --config FILE --cert CRT [--token - | --token-file F] [--tenant-header X] [--tool NAME]",
		Short: "What the gate would say to a certificate and token, step by step",
		Long: `Decides as a gate with this configuration would, without serving: which names
of the certificate match which rule, whose the token is, what refuses it, and what
to do about it. It reads the state store and what the gate keeps on this machine;
nothing is changed. Exit code 0: allowed, 3: refused.

The token comes from standard input (--token -) or a file. On the command line
(--token T) others on this machine can see it.`,
		Example: "  sangate explain --config sangate.yaml --cert agent.crt --token-file agent.token --tool zendesk_get_ticket\n  sangate explain --config sangate.yaml --cert agent.crt --token - --json <agent.token",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			q := explain.Question{Tool: toolName, Admin: admin, ClientCA: clientCA}
			var err error
			if q.Token, err = explainToken(cmd, token, tokenFile); err != nil {
				return err
			}
			if cmd.Flags().Changed("tenant-header") {
				q.TenantHeader = &header
			}
			if at != "" {
				if q.At, err = time.Parse(time.RFC3339, at); err != nil {
					return usage(fmt.Errorf("--at %q: write a time such as 2026-11-23T09:00:00Z", at))
				}
			}
			if cert == "" {
				return usage(errors.New("--cert is missing: name the client's certificate file, leaf first"))
			}
			if q.Chain, err = (pki.Files{Cert: cert}).LoadChain(); err != nil {
				return usage(err)
			}
			c, err := config.Load(flags.file, flags.set)
			if err != nil {
				return usage(err)
			}
			r, err := explain.Ask(cmd.Context(), c, q)
			if err != nil {
				return err
			}
			if err := printExplained(cmd, r, asJSON); err != nil || r.Allowed {
				return err
			}
			return &codeError{exitNo, errors.New("")}
		},
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&cert, "cert", "", "the client's certificate, leaf first, then intermediates (required)")
	f.StringVar(&token, "token", "", "the token; - is standard input")
	f.StringVar(&tokenFile, "token-file", "", "file that holds the token")
	f.StringVar(&header, "tenant-header", "", "value of X-Octopus-Tenant-Id")
	f.StringVar(&toolName, "tool", "", "tool to be called")
	f.BoolVar(&admin, "admin", false, "the request is for /api")
	f.StringVar(&at, "at", "", "decide as of this time (RFC 3339)")
	f.StringArrayVar(&clientCA, "client-ca", nil, "trust bundle, where it is not on this machine")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explainToken reads the token from where it was said to be; nil: none is sent.
func explainToken(cmd *cobra.Command, token, file string) (*string, error) {
	given := cmd.Flags().Changed("token")
	switch {
	case given && file != "":
		return nil, usage(errors.New("give one of --token and --token-file"))
	case given && token != "-":
		fmt.Fprintln(cmd.ErrOrStderr(), "sangate: a token on the command line is seen by others on this machine; use --token - or --token-file")
		return &token, nil
	case given:
		file = "-"
	case file == "":
		return nil, nil
	}
	data, err := readInput(cmd, file, maxTokenFile)
	if err != nil {
		return nil, usage(err)
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(data), "\ufeff"))
	return &text, nil
}

func printExplained(cmd *cobra.Command, r *explain.Report, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, r)
	}
	out := cmd.OutOrStdout()
	if err := printSteps(out, r.Steps, palette{}); err != nil {
		return err
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", visible(note))
	}
	verdict := "refused"
	if r.Allowed {
		verdict = "allowed"
	}
	if r.Reason != "" {
		verdict += ": " + r.Reason
	}
	fmt.Fprintf(out, "\n%s\n", verdict)
	if r.Allowed {
		return nil
	}
	_, err := fmt.Fprintln(out, paragraphs(r.Means, r.Likely, r.Do))
	return err
}
