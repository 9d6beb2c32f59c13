package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/dev"
)

func devCommand() *cobra.Command {
	var opts dev.Options
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "One command to a working gate, with a CA, two tenants and their keys",
		Long: `Makes a working gate in one folder and runs it: an embedded step-ca, a server
certificate enrolled from it, tenants acme and globex with a client certificate
and an API key each. Certificates are renewed while it runs. A second start uses
what is there. Everything printed after the start can be pasted.`,
		Example: "  sangate dev\n  sangate dev --dir ~/gate --listen 127.0.0.1:18443\n  sangate dev --once   # make the files, do not serve",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := thisVersion()
			opts.Version, opts.Commit = v.Version, v.Commit
			opts.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelInfo}))
			ofLibraries(opts.Logger.Handler())
			opts.Ready = func(g dev.Gate) { welcome(cmd.OutOrStdout(), g) }
			hup := hangups()
			defer signal.Stop(hup)
			opts.Serve = func(ctx context.Context, s *server.Server) error { return serve(ctx, s, hup) }
			return dev.Run(cmd.Context(), opts)
		},
	}
	cmd.Flags().StringVar(&opts.Dir, "dir", "certs-dev", "folder that everything is kept in")
	cmd.Flags().StringVar(&opts.Listen, "listen", "127.0.0.1:8443", "address of the gate")
	cmd.Flags().StringVar(&opts.Admin, "admin", "127.0.0.1:9090", "address of metrics and health")
	cmd.Flags().StringVar(&opts.CA, "ca", "127.0.0.1:9443", "address of the embedded step-ca")
	cmd.Flags().BoolVar(&opts.Once, "once", false, "make the files and exit")
	return cmd
}

// welcome prints what to paste; the end-to-end test pastes it.
func welcome(w io.Writer, g dev.Gate) {
	if g.URL == "" {
		fmt.Fprintf(w, "The PKI is in %s, signed by the root with SHA-256 %s\n", g.Dir, g.Fingerprint)
		return
	}
	dir := g.Dir
	if strings.ContainsAny(dir, " '\"$`\\&;()<>|*?[]#~") {
		dir = "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
	}
	fmt.Fprintf(w, `
sangate is up
  gate    %[2]s      (client certificate, API key and tenant must agree)
  admin   %[3]s       (console; /metrics, /healthz, /readyz)
  step-ca %[4]s      (root SHA-256 %[5]s)

List the tools of tenant acme:
  curl --cacert %[1]s/root_ca.crt --cert %[1]s/clients/acme.crt --key %[1]s/clients/acme.key -H "Authorization: Bearer $(cat %[1]s/clients/acme.token)" %[2]s/tools

Call one:
  curl --cacert %[1]s/root_ca.crt --cert %[1]s/clients/acme.crt --key %[1]s/clients/acme.key -H "Authorization: Bearer $(cat %[1]s/clients/acme.token)" -H "X-Octopus-Tenant-Id: acme" -H "Content-Type: application/json" -d '{"arguments":{}}' %[2]s/tool/whoami/call

The same over the Model Context Protocol:
  curl --cacert %[1]s/root_ca.crt --cert %[1]s/clients/acme.crt --key %[1]s/clients/acme.key -H "Authorization: Bearer $(cat %[1]s/clients/acme.token)" -H "Content-Type: application/json" -H "Accept: application/json, text/event-stream" -H "MCP-Protocol-Version: 2025-11-25" -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}' %[2]s/mcp

See it refuse globex's certificate with acme's key:
  curl --cacert %[1]s/root_ca.crt --cert %[1]s/clients/globex.crt --key %[1]s/clients/globex.key -H "Authorization: Bearer $(cat %[1]s/clients/acme.token)" %[2]s/tools

Find out why a client does not get in:
  sangate doctor %[2]s --ca %[1]s/root_ca.crt --cert %[1]s/clients/acme.crt --key %[1]s/clients/acme.key --token-file %[1]s/clients/acme.token

Its configuration is %[1]s/sangate.yaml. Ctrl-C stops it.
`, dir, g.URL, g.AdminURL, g.CAURL, g.Fingerprint)
}
