package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/keyring"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tenant"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "API keys of tenants: mint, list, rotate, revoke",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenMint(), tokenList(), tokenRotate(), tokenRevoke())
	return cmd
}

// withStore opens the state store that the configuration names, unless it is behind its
// high-water mark.
func withStore(ctx context.Context, flags *configFlags, do func(*config.Config, *store.Store) error) (err error) {
	return withAnyStore(ctx, flags, func(c *config.Config, s *store.Store) error {
		if err := standing.Look(ctx, s, c.MarkFile()); err != nil {
			return err
		}
		return do(c, s)
	})
}

func withAnyStore(ctx context.Context, flags *configFlags, do func(*config.Config, *store.Store) error) (err error) {
	if err := flags.check(); err != nil {
		return err
	}
	c, err := config.Load(flags.file, flags.set)
	if err != nil {
		return usage(err)
	}
	s, err := store.Open(ctx, string(c.State), store.Options{})
	if err != nil {
		return fmt.Errorf("state store: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return do(c, s)
}

func tokenMint() *cobra.Command {
	var flags configFlags
	var tenantID, description string
	var lifetime time.Duration
	var asJSON, printOnly, admins bool
	var pin apikey.Pin
	cmd := &cobra.Command{
		Use:   "mint --config FILE {--tenant ID | --admins}",
		Short: "Make a key; it is shown once, on standard output",
		Long: `Makes an API key of a tenant and prints it, once, on standard output. The state
store keeps its SHA-256 only. A running gate takes it within a second.`,
		Example: "  sangate token mint --config sangate.yaml --tenant acme >acme.token\n  sangate token mint --config sangate.yaml --tenant acme --lifetime 2160h --json\n  sangate token mint --config sangate.yaml --tenant acme --san 'uri:spiffe://example.org/tenant/acme/agent-7'\n  sangate token mint --config sangate.yaml --tenant acme --print-only --json   # for keys: in the configuration",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lifetime < 0 {
				return usage(errors.New("--lifetime must not be negative"))
			}
			return withStore(cmd.Context(), &flags, func(c *config.Config, s *store.Store) error {
				if admins {
					if tenantID != "" || c.Admins == nil {
						return usage(errors.New("--admins goes without --tenant, and with admins: in the configuration"))
					}
					tenantID = tenant.Admins
				} else if err := knownTenant(c, tenantID); err != nil {
					return usage(err)
				}
				if err := pin.Check(); err != nil {
					return usage(err)
				}
				order := keyring.Order{Tenant: tenantID, Description: description, Lifetime: lifetime, Pin: pin}
				mint := func() (keyring.Minted, error) {
					minted, err := keyring.Mint(cmd.Context(), s, order, time.Now())
					if err != nil {
						return keyring.Minted{}, err
					}
					return minted, auditChange(c, "key.mint", minted.ID)
				}
				if printOnly {
					mint = func() (keyring.Minted, error) {
						minted, _, err := keyring.Make(order, time.Now())
						return minted, err
					}
				}
				out, err := mint()
				if out.Key == "" {
					return err
				}
				// The key is shown whatever the audit log says: it would be lost.
				return errors.Join(err, printMinted(cmd, out, asJSON))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&tenantID, "tenant", "", "tenant the key is for")
	cmd.Flags().BoolVar(&admins, "admins", false, "a key for admins and /api, in the place of a tenant's")
	cmd.Flags().StringVar(&description, "description", "", "a note on who has it")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it is good for; 0: until revoked")
	cmd.Flags().StringVar(&pin.SAN, "san", "", "SAN rule of the certificates the key is good with; else all of the tenant's")
	cmd.Flags().StringVar(&pin.Certificate, "certificate", "", "SHA-256 of the one certificate the key is good with")
	cmd.Flags().BoolVar(&printOnly, "print-only", false, "do not keep it: its sha256 goes into the configuration")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printMinted(cmd *cobra.Command, m keyring.Minted, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, m)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "key %s of tenant %s; it is not shown again\n", m.ID, m.Tenant)
	_, err := fmt.Fprintln(cmd.OutOrStdout(), m.Key)
	return err
}

// knownTenant accepts a configured id, and any valid one where a rule captures.
func knownTenant(c *config.Config, id string) error {
	if id == "" {
		return errors.New("--tenant is missing: whose key is it?")
	}
	if c.Table.Knows(id) {
		return nil
	}
	var known []string
	for _, t := range c.Table.Tenants() {
		known = append(known, t.ID)
	}
	return fmt.Errorf("no tenant %q in the configuration; there are %v", id, known)
}

func tokenList() *cobra.Command {
	var flags configFlags
	var tenantID string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list --config FILE",
		Short:   "List keys: ids, tenants and dates, never the keys",
		Example: "  sangate token list --config sangate.yaml --tenant acme",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd.Context(), &flags, func(c *config.Config, s *store.Store) error {
				keys, err := keyring.List(cmd.Context(), s, c.Keys, tenantID, time.Now())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, keys)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tTENANT\tSTATE\tSOURCE\tCREATED\tNOT AFTER\tLAST USED\tDESCRIPTION")
				for _, k := range keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%q\n", k.ID, k.Tenant, k.State, k.Source, date(k.CreatedAt), date(k.NotAfter), date(k.LastUsed), k.Description)
				}
				return w.Flush()
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&tenantID, "tenant", "", "of this tenant only")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func date(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func tokenRevoke() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:     "revoke --config FILE ID",
		Short:   "Revoke a key of the state store, for good",
		Example: "  sangate token revoke --config sangate.yaml 3fQ0aZk91Lm",
		Args:    oneKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd.Context(), &flags, func(c *config.Config, s *store.Store) error {
				if err := keyring.Revoke(cmd.Context(), s, c.Keys, args[0], time.Now()); err != nil {
					return err
				}
				return auditChange(c, "key.revoke", args[0])
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func oneKey(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(errors.New("name the id of one key; `sangate token list` has them"))
	}
	return nil
}

func tokenRotate() *cobra.Command {
	var flags configFlags
	var overlap, lifetime time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate --config FILE ID",
		Short: "Make a key in the place of another, which stays good for a while",
		Long: `Makes a key of the same tenant and prints it, once. The other one stays good for
the overlap, or until its own end where that is sooner, so that clients can be
given the new one in peace.`,
		Example: "  sangate token rotate --config sangate.yaml --overlap 24h 3fQ0aZk91Lm >acme.token",
		Args:    oneKey,
		RunE: func(cmd *cobra.Command, args []string) error {
			if overlap < 0 || lifetime < 0 {
				return usage(errors.New("--overlap and --lifetime must not be negative"))
			}
			return withStore(cmd.Context(), &flags, func(c *config.Config, s *store.Store) error {
				minted, err := keyring.Rotate(cmd.Context(), s, c.Keys, args[0], overlap, lifetime, time.Now())
				if err != nil {
					return err
				}
				// The key is shown whatever the audit log says: it would be lost.
				return errors.Join(auditChange(c, "key.rotate", args[0]+" to "+minted.ID), printMinted(cmd, minted, asJSON))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the other key stays good")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long the new one is good for; 0: until revoked")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
