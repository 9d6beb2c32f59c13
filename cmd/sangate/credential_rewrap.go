package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/progress"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
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
			return withVaultIn(cmd, &flags, func(c *config.Config, s *store.Store, v *credential.Vault) error {
				return rewrap(cmd, c, s, v, to)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "key encryption key: file:PATH, env:NAME or a KMS URI")
	cmd.Flags().BoolVar(&newKeys, "new-keys", false, "replace the keys that credentials are sealed by")
	return cmd
}

func rewrap(cmd *cobra.Command, c *config.Config, s *store.Store, v *credential.Vault, to string) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if to == "" {
		line := progress.New(cmd.ErrOrStderr(), "sealing credentials anew")
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
	// First the mark, which then opens by either: a crash in between locks nobody out.
	if _, err := credential.CreateKEK(to); err != nil {
		return err
	}
	if err := standing.Rewrap(ctx, standingOf(cmd, c, s), to); err != nil {
		return err
	}
	if err := v.Rewrap(ctx, to); err != nil {
		return err
	}
	fmt.Fprintln(out, "the keys are wrapped by the other key: name it in credentials.kek now")
	return auditChange(c, "credential.rewrap", "the keys of credentials")
}
