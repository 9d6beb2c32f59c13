package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/doctor"
)

func doctorCommand() *cobra.Command {
	var opts doctor.Options
	var token, tokenFile, header, tlsMax string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor URL --ca F --cert F --key F [--token-file F]",
		Short: "Why a client cannot connect: names the first thing that is wrong, and what to do",
		Long: `Looks at a gate from a client's side, with what the client has: name, port, TLS,
the server's certificate, the client's own, clocks, token. Nothing is called and
nothing is changed; the token goes only to a server that --ca trusts. Exit code 0:
nothing is wrong, 3: something is, and it is named.`,
		Example: "  sangate doctor https://127.0.0.1:8443 --ca certs-dev/root_ca.crt --cert certs-dev/clients/acme.crt --key certs-dev/clients/acme.key --token-file certs-dev/clients/acme.token\n  sangate doctor https://gate.internal:8443 --ca root_ca.crt --cert agent.crt --key agent.key --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("name the gate's URL, as in https://127.0.0.1:8443"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.URL = args[0]
			if len(opts.CA) == 0 {
				return usage(errors.New("--ca is missing: name the root that issued the gate's certificate"))
			}
			if opts.Files.Cert != "" && opts.Files.Key == "" {
				return usage(errors.New("--key is missing: name the key of --cert"))
			}
			if cmd.Flags().Changed("token") && token != "-" {
				return usage(errors.New("a token on the command line is seen by others on this machine: use --token-file, or --token - for standard input"))
			}
			var err error
			if opts.Token, err = explainToken(cmd, token, tokenFile); err != nil {
				return err
			}
			if cmd.Flags().Changed("tenant-header") {
				opts.TenantHeader = &header
			}
			switch tlsMax {
			case "", "1.3":
			case "1.2":
				opts.MaxVersion = tls.VersionTLS12
			default:
				return usage(fmt.Errorf("--tls-max %q: 1.2 or 1.3", tlsMax))
			}
			r, err := doctor.Examine(cmd.Context(), opts)
			if cmd.Context().Err() != nil {
				return errors.New("interrupted before anything could be concluded")
			}
			if err != nil {
				return usage(err)
			}
			if asJSON {
				err = printJSON(cmd, r)
			} else {
				err = printExamined(cmd.OutOrStdout(), r, colours(cmd.OutOrStdout()))
			}
			if err != nil || r.Good {
				return err
			}
			return &codeError{exitNo, errors.New("")}
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&opts.CA, "ca", nil, "file or folder of the roots that the gate's certificate chains to (required)")
	f.StringVar(&opts.Files.Cert, "cert", "", "the client's certificate, leaf first, then intermediates")
	f.StringVar(&opts.Files.Key, "key", "", "its key")
	f.StringVar(&opts.Files.KeyPasswordFile, "key-password-file", "", "file that holds the password of an encrypted key")
	f.StringVar(&token, "token", "", "- takes the token from standard input")
	f.StringVar(&tokenFile, "token-file", "", "file that holds the token")
	f.StringVar(&header, "tenant-header", "", "value of X-Octopus-Tenant-Id")
	f.StringVar(&opts.Tool, "tool", "", "tool to be called")
	f.StringVar(&tlsMax, "tls-max", "", "meet the gate as a client that speaks no newer TLS: 1.2")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printExamined(out io.Writer, r *doctor.Report, p palette) error {
	if err := printSteps(out, r.Steps, p); err != nil {
		return err
	}
	if r.Good {
		_, err := fmt.Fprintf(out, "\n%snothing is wrong%s\n", p.good, p.off)
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s%s%s\n%s\n", p.bad, r.Finding, p.off, paragraphs(r.Means, r.Likely, r.Do))
	return err
}
