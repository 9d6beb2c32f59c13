package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
)

func stateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "The state database and its high-water mark",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(stateAccept())
	return cmd
}

// standingOf returns what the mark of a configuration is kept by.
func standingOf(cmd *cobra.Command, c *config.Config, s *store.Store) standing.Options {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return standing.Options{Store: s, File: c.MarkFile(), Logger: log, Vault: func() *credential.Vault {
		if c.Credentials == nil || c.Credentials.KEK == "" {
			return nil
		}
		return credential.New(s, c.Credentials.KEK, log)
	}}
}

func stateAccept() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "accept --config FILE",
		Short: "Accept a state database that is older than its high-water mark",
		Long: `Sets the high-water mark to what the state database has now. Run it after you restored
a backup, moved the mark's file or lost it. Keys that were revoked, certificates that
were denied and credentials that were rotated or deleted after the backup was made are
as they were then: repeat that. The audit log has what was done since.`,
		Example: "  sangate state accept --config sangate.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAnyStore(cmd.Context(), &flags, func(c *config.Config, s *store.Store) error {
				done, err := standing.Accept(cmd.Context(), standingOf(cmd, c, s))
				if err != nil {
					return err
				}
				what := fmt.Sprintf("generation %d, mark before %d", done.After, done.Before)
				fmt.Fprintf(cmd.OutOrStdout(), "accepted the state database: %s\n", what)
				return auditChange(c, "state.accept", what)
			})
		},
	}
	flags.add(cmd)
	return cmd
}
