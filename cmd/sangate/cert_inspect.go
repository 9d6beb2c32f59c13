package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki/inspect"
)

func certInspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect {FILE | - | HOST:PORT}",
		Short: "Show what is in certificates, and what is wrong with them",
		Long: `Shows the certificates in a PEM or DER file, on standard input, or of a TLS
server. They are looked at, not trusted. Exit 3 where something is wrong.`,
		Example: "  sangate cert inspect certs-dev/clients/acme.crt\n  sangate cert inspect 127.0.0.1:8443 --json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("name one file, - for standard input, or host:port"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := certificatesOf(cmd, args[0])
			if err != nil {
				return err
			}
			report, err := inspect.PEM(cmd.Context(), data, time.Now())
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				err = printJSON(cmd, report)
			} else {
				err = printReport(cmd.OutOrStdout(), report)
			}
			if n := problemCount(report); err == nil && n > 0 {
				return &codeError{exitNo, fmt.Errorf("%s: problems: %d", args[0], n)}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// certificatesOf reads a file if there is one of that name, else asks a server.
func certificatesOf(cmd *cobra.Command, source string) ([]byte, error) {
	data, err := readInput(cmd, source, inspect.MaxBytes)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if _, _, splitErr := net.SplitHostPort(source); splitErr != nil {
		return nil, err
	}
	return askServer(cmd.Context(), source)
}

// askServer returns what a TLS server shows. Nothing is sent to it, so nothing
// has to be verified; that it asks for a client certificate is no hindrance.
func askServer(ctx context.Context, addr string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var shown bytes.Buffer
	dialer := tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if err := pem.Encode(&shown, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
					return err
				}
			}
			return nil
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	if shown.Len() > 0 {
		return shown.Bytes(), nil
	}
	return nil, err
}

func problemCount(r inspect.Report) int {
	n := len(r.Problems)
	for _, c := range r.Certificates {
		n += len(c.Problems)
	}
	return n
}

func printReport(w io.Writer, r inspect.Report) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, c := range r.Certificates {
		if i > 0 {
			fmt.Fprintln(tw)
		}
		row := func(name string, values ...string) {
			if text := strings.Join(values, ", "); text != "" {
				fmt.Fprintf(tw, "%s\t%s\n", name, text)
			}
		}
		row("subject", c.Subject)
		row("issuer", c.Issuer)
		row("serial", c.Serial)
		row("names", names(c.SANs)...)
		row("not before", c.NotBefore.Format(time.RFC3339))
		row("not after", c.NotAfter.Format(time.RFC3339)+left(c.NotAfter))
		row("key", strings.TrimSpace(c.Key.Algorithm+" "+c.Key.Curve))
		row("usages", append(c.KeyUsages, c.ExtKeyUsages...)...)
		row("sha256", c.Fingerprints.SHA256)
		row("spki sha256", c.Fingerprints.SPKISHA256)
		for _, p := range c.Problems {
			row("problem", string(p.Code)+": "+p.Message)
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintf(tw, "problem\t%s: %s\n", p.Code, p.Message)
	}
	return tw.Flush()
}

func names(s inspect.SANs) []string {
	var out []string
	for _, kind := range []struct {
		prefix string
		values []string
	}{{"uri:", s.URI}, {"dns:", s.DNS}, {"email:", s.Email}, {"ip:", s.IP}} {
		for _, v := range kind.values {
			out = append(out, kind.prefix+v)
		}
	}
	return out
}

func left(end time.Time) string {
	if d := time.Until(end); d > 0 {
		return fmt.Sprintf(" (in %s)", d.Round(time.Second))
	}
	return " (over)"
}
