package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
	"github.com/sangate/sangate/server/api"
	"github.com/sangate/sangate/server/material"
)

// denyFlags say where else a certificate's holder is shut out, and how widely.
type denyFlags struct {
	what                   string
	denylist               string
	gate, cert, key, token string
	ca                     string
}

func (f *denyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.what, "deny", "name", "what to deny at --denylist or --gate: name, key or certificate")
	cmd.Flags().StringVar(&f.denylist, "denylist", "", "the gate's denylist file, to add to")
	cmd.Flags().StringVar(&f.gate, "gate", "", "URL of a gate, to add to its denylist as an admin")
	cmd.Flags().StringVar(&f.cert, "admin-cert", "", "the admin's certificate, with --gate")
	cmd.Flags().StringVar(&f.key, "admin-key", "", "its private key")
	cmd.Flags().StringVar(&f.token, "admin-token-file", "", "file with the admin's API key, - for standard input")
	cmd.Flags().StringVar(&f.ca, "gate-ca", "", "CA of the gate's certificate, PEM; that of --root where absent")
}

func certRevoke() *cobra.Command {
	var ca caFlags
	var pair pairFlags
	var deny denyFlags
	var serial, tokenFile, reason string
	var code int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke --ca-url URL --root FILE {--cert CRT --key KEY | --serial N --token-file FILE}",
		Short: "Revoke a certificate at step-ca, and shut its holder out at the gate",
		Long: `Revokes one serial number at step-ca: by the certificate's own key, or by a
revocation token of the provisioner (step ca token --revoke).

step-ca's revocation is passive and does not follow a certificate through its
renewals: one that it was renewed to goes on and can be renewed. So the lines
that shut out its holder at the gate are printed; with --denylist or --gate they
are put in force first, by name (renewed and rekeyed ones too), key (renewed
ones too) or certificate.`,
		Example: "  sangate cert revoke --ca-url https://ca.internal:9000 --root root_ca.crt --cert agent.crt --key agent.key --reason-code 1 \\\n    --denylist /etc/sangate/denylist",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := ca.client()
			if err != nil {
				return err
			}
			why := stepca.Reason{Code: code, Text: reason}
			var revoke func() error
			var leaf *x509.Certificate
			if serial == "" {
				files, err := pair.files()
				if err != nil {
					return err
				}
				p, err := files.Load()
				if err != nil {
					return err
				}
				leaf, revoke = p.Leaf(), func() error { return client.Revoke(cmd.Context(), p, why) }
			} else {
				n, token, err := serialAndToken(cmd, serial, tokenFile)
				if err != nil {
					return err
				}
				if leaf, err = leafOf(pair.cert, n); err != nil {
					return err
				}
				revoke = func() error { return client.RevokeSerial(cmd.Context(), n, token, why) }
			}
			denied, err := deny.apply(cmd, leaf, ca.root)
			if _, bad := errors.AsType[*codeError](err); bad {
				return err
			}
			atCA := revoke() // whatever became of the denylist: each helps by itself
			if atCA != nil && err == nil && len(denied) > 0 {
				atCA = fmt.Errorf("denied at the gate, but not revoked at the CA: %w", atCA)
			}
			if err := errors.Join(err, atCA); err != nil {
				return err
			}
			return printRevoked(cmd, leaf, denied, asJSON)
		},
	}
	ca.add(cmd)
	pair.add(cmd)
	deny.add(cmd)
	cmd.Flags().StringVar(&serial, "serial", "", "serial number, decimal or 0x and hexadecimal, in the place of --key; --cert then tells the names")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the revocation token, - for standard input; with --serial")
	cmd.Flags().IntVar(&code, "reason-code", 0, "CRLReason (RFC 5280, 5.3.1): 1 key compromise, 4 superseded, 5 cessation of operation")
	cmd.Flags().StringVar(&reason, "reason", "", "words for the CA's records")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func serialAndToken(cmd *cobra.Command, serial, tokenFile string) (*big.Int, string, error) {
	n, ok := new(big.Int).SetString(serial, 0)
	if !ok || n.Sign() < 0 {
		return nil, "", usage(fmt.Errorf("--serial %q is not a number", serial))
	}
	if tokenFile == "" {
		return nil, "", usage(errors.New("--token-file is missing: a revocation token goes with --serial"))
	}
	token, err := readSecret(cmd, tokenFile)
	return n, token, err
}

// leafOf reads the certificate of that serial number; nil where no file is named.
func leafOf(file string, serial *big.Int) (*x509.Certificate, error) {
	if file == "" {
		return nil, nil
	}
	chain, err := pki.Files{Cert: file}.LoadChain()
	if err != nil {
		return nil, err
	}
	if chain[0].SerialNumber.Cmp(serial) != 0 {
		return nil, usage(fmt.Errorf("%s has the serial number %s, not %s", file, chain[0].SerialNumber, serial))
	}
	return chain[0], nil
}

// apply puts the chosen lines in force and returns them; none where neither file
// nor gate is named.
func (f *denyFlags) apply(cmd *cobra.Command, leaf *x509.Certificate, root string) (denied []string, err error) {
	if f.denylist == "" && f.gate == "" {
		return nil, nil
	}
	if leaf == nil {
		return nil, usage(errors.New("--cert is missing: what is to be denied stands in it"))
	}
	for _, line := range revocation.Lineage(leaf) {
		if line.Kind == f.what {
			denied = append(denied, line.Entry)
		}
	}
	if len(denied) == 0 {
		return nil, usage(fmt.Errorf("--deny %q: use name, key or certificate; a certificate without usable names has no name", f.what))
	}
	comment := fmt.Sprintf("revoked %s, serial %x", time.Now().UTC().Format(time.RFC3339), leaf.SerialNumber)
	if f.denylist != "" {
		err = addToFile(f.denylist, denied, comment)
	}
	if err == nil && f.gate != "" {
		err = f.addAtGate(cmd, denied, comment, root)
	}
	return denied, err
}

func addToFile(file string, entries []string, comment string) error {
	mode := fs.FileMode(0o644)
	text, err := regularfile.Read(file, material.MaxDenylistBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	return atomicfile.Write(file, revocation.AppendTo(text, entries, comment), mode)
}

func (f *denyFlags) addAtGate(cmd *cobra.Command, entries []string, comment, root string) error {
	if f.ca == "" {
		f.ca = root
	}
	if f.cert == "" || f.key == "" || f.token == "" || f.ca == "" {
		return usage(errors.New("--gate goes with --admin-cert, --admin-key, --admin-token-file, and --gate-ca or --root"))
	}
	token, err := readSecret(cmd, f.token)
	if err != nil {
		return err
	}
	cert, err := pki.Files{Cert: f.cert, Key: f.key}.LoadCertificate()
	if err != nil {
		return err
	}
	bundle, err := pki.LoadBundle([]string{f.ca})
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	for _, c := range bundle.Certificates() {
		roots.AddCert(c)
	}
	client := api.Client{Gate: f.gate, Token: token, TLS: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS13}}
	for _, entry := range entries {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		err = errors.Join(err, client.AddRevocation(ctx, entry, comment))
		cancel()
	}
	return err
}

// printRevoked tells what was denied, or what could be.
func printRevoked(cmd *cobra.Command, leaf *x509.Certificate, denied []string, asJSON bool) error {
	var lines []revocation.Line
	if leaf != nil {
		lines = revocation.Lineage(leaf)
	}
	if asJSON {
		return printJSON(cmd, struct {
			Denied []string          `json:"denied"`
			Lines  []revocation.Line `json:"denylistLines"`
		}{denied, lines})
	}
	out := cmd.OutOrStdout()
	if len(denied) > 0 {
		fmt.Fprintln(out, "Revoked at the CA, and denied at the gate:")
		for _, entry := range denied {
			fmt.Fprintln(out, "  "+entry)
		}
		return nil
	}
	fmt.Fprintln(out, "Revoked at the CA. A certificate that it was renewed to stays good. To shut out its holder, put a line on the gate's denylist (--denylist, --gate):")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\t# %s\n", l.Entry, l.Covers)
	}
	return w.Flush()
}
