package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/pki/stepca"
)

func certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Certificates: enroll, renew, rekey, revoke with step-ca; inspect; watch",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(certEnroll(), certReplace("renew", "Renew a certificate, keeping its key"),
		certReplace("rekey", "Renew a certificate for a new key"), certRevoke(), certInspect(), certWatch())
	return cmd
}

// caFlags say which authority to talk to and whom to trust for it.
type caFlags struct{ url, fingerprint, root string }

func (f *caFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "ca-url", "", "step-ca's URL (required)")
	cmd.Flags().StringVar(&f.fingerprint, "fingerprint", "", "SHA-256 of the CA's root; or give --root")
	cmd.Flags().StringVar(&f.root, "root", "", "the CA's root, PEM; or give --fingerprint")
}

func (f *caFlags) client() (*stepca.Client, error) {
	if f.url == "" || (f.fingerprint == "") == (f.root == "") {
		return nil, usage(errors.New("name the CA with --ca-url and one of --fingerprint and --root"))
	}
	c, err := stepca.New(f.url, stepca.Options{Fingerprint: f.fingerprint, RootFile: f.root})
	if err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// pairFlags name the files of a certificate and its key.
type pairFlags struct{ cert, key string }

func (f *pairFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cert, "cert", "", "certificate file, PEM (required)")
	cmd.Flags().StringVar(&f.key, "key", "", "private key file, PEM (required)")
}

func (f *pairFlags) files() (stepca.Files, error) {
	if f.cert == "" || f.key == "" {
		return stepca.Files{}, usage(errors.New("name the files with --cert and --key"))
	}
	return stepca.Files{Cert: f.cert, Key: f.key}, nil
}

// filesAndClient opens what nearly every command here needs.
func filesAndClient(pair *pairFlags, ca *caFlags) (stepca.Files, *stepca.Client, error) {
	files, err := pair.files()
	if err != nil {
		return files, nil, err
	}
	client, err := ca.client()
	return files, client, err
}

// readSecret reads a one-time token or password from a file, or standard input
// where it is "-". Secrets are never taken from a flag's value.
func readSecret(cmd *cobra.Command, file string) (string, error) {
	data, err := readInput(cmd, file, 64<<10)
	if err != nil {
		return "", err
	}
	if s := strings.TrimSpace(string(data)); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s: nothing in it", file)
}

type issuedCert struct {
	Cert     string    `json:"cert"`
	Key      string    `json:"key"`
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"notAfter"`
}

func printIssued(cmd *cobra.Command, files stepca.Files, p *stepca.Pair, asJSON bool) error {
	out := issuedCert{files.Cert, files.Key, p.Leaf().SerialNumber.Text(16), p.Leaf().NotAfter.UTC()}
	if asJSON {
		return printJSON(cmd, out)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: serial %s, good until %s\n", out.Cert, out.Serial, out.NotAfter.Format(time.RFC3339))
	return err
}

func certEnroll() *cobra.Command {
	var ca caFlags
	var pair pairFlags
	var tokenFile, subject, keyType string
	var sans []string
	var lifetime time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "enroll --ca-url URL --fingerprint F --token-file FILE --cert CRT --key KEY",
		Short: "Trade a one-time token for a certificate of a new key",
		Long: `Makes a key, has step-ca sign a certificate for it, checks what came back and
writes both, the key with mode 0600. Without --subject and --san, the token says
what the certificate is for.`,
		Example: "  step ca token gate.internal | sangate cert enroll --ca-url https://ca.internal:9000 --fingerprint 84a0… \\\n    --token-file - --cert server.crt --key server.key",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, client, err := filesAndClient(&pair, &ca)
			if err != nil {
				return err
			}
			kind, err := stepca.ParseKeyKind(keyType)
			if err != nil {
				return usage(err)
			}
			if tokenFile == "" {
				return usage(errors.New("--token-file is missing: a file with the one-time token, or - for standard input"))
			}
			token, err := readSecret(cmd, tokenFile)
			if err != nil {
				return err
			}
			p, err := client.Enrol(cmd.Context(), token, stepca.Request{Subject: subject, SANs: sans, Key: kind, Lifetime: lifetime})
			if err != nil {
				return err
			}
			if err := files.Save(p); err != nil {
				return err
			}
			return printIssued(cmd, files, p, asJSON)
		},
	}
	ca.add(cmd)
	pair.add(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the one-time token, - for standard input (required)")
	cmd.Flags().StringVar(&subject, "subject", "", "common name to ask for")
	cmd.Flags().StringArrayVar(&sans, "san", nil, "name to ask for: DNS name, IP, e-mail address or URI; may be repeated")
	cmd.Flags().StringVar(&keyType, "key-type", "ec-p256", "ec-p256, ec-p384, ed25519, rsa-2048, rsa-3072 or rsa-4096")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "lifetime to ask for; 0: what the CA gives")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// certReplace makes `renew` and `rekey`.
func certReplace(name, short string) *cobra.Command {
	var ca caFlags
	var pair pairFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     name + " --ca-url URL --root FILE --cert CRT --key KEY",
		Short:   short,
		Example: "  sangate cert " + name + " --ca-url https://ca.internal:9000 --root root_ca.crt --cert server.crt --key server.key",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, client, err := filesAndClient(&pair, &ca)
			if err != nil {
				return err
			}
			old, err := files.Load()
			if err != nil {
				return err
			}
			replace := client.Renew
			if name == "rekey" {
				replace = client.Rekey
			}
			p, err := replace(cmd.Context(), old)
			if err != nil {
				return err
			}
			if err := files.Save(p); err != nil {
				return err
			}
			return printIssued(cmd, files, p, asJSON)
		},
	}
	ca.add(cmd)
	pair.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
