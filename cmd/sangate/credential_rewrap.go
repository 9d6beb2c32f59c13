package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/progress"
)

func credentialRewrap() *cobra.Command {
	var flags configFlags
	var to string
	var newKeys bool
	cmd := &cobra.Command{
		Use:   "rewrap --config FILE {--to KEK | --new-keys}",
		Short: "Wrap the keys of the store by another key, or replace them",
		Long: `With --to the keys are wrapped by another key encryption key, which is made
where it is a file that is not there. Running gates go on; name it in
credentials.kek before the next start. With --new-keys the keys themselves are
replaced and every credential is sealed anew, at once or not at all.`,
		Example: "  sangate credential rewrap --config sangate.yaml --to file:/etc/sangate/kek2\n  sangate credential rewrap --config sangate.yaml --new-keys",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (to == "") == !newKeys {
				return usage(errors.New("write --to and the key to wrap by, or --new-keys"))
			}
			return withVault(cmd, &flags, func(c *config.Config, v *credential.Vault) error {
				return rewrap(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), c, v, to)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "key encryption key: file:PATH, env:NAME or a KMS URI")
	cmd.Flags().BoolVar(&newKeys, "new-keys", false, "replace the keys that credentials are sealed by")
	return cmd
}

func rewrap(ctx context.Context, out, errs io.Writer, c *config.Config, v *credential.Vault, to string) error {
	if to == "" {
		line := progress.New(errs, "sealing credentials anew")
		err := v.Rekey(ctx, line.At)
		line.Done()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "every credential is sealed by new keys")
		return auditChange(c, "credential.rekey", "all credentials")
	}
	if file, ok := strings.CutPrefix(to, "file:"); ok {
		file, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		to = "file:" + file
	}
	if err := v.Rewrap(ctx, to); err != nil {
		return err
	}
	fmt.Fprintln(out, "the keys are wrapped by the other key: name it in credentials.kek now")
	return auditChange(c, "credential.rewrap", "the keys of credentials")
}
