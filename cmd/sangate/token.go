package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tenant"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "API keys of tenants: mint, list, revoke",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenMint(), tokenList(), tokenRevoke())
	return cmd
}

// withStore opens the state store that the configuration names.
func withStore(ctx context.Context, flags *configFlags, do func(*config.Config, *store.Store) error) (err error) {
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

type mintedKey struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Key      string    `json:"key"`
	SHA256   string    `json:"sha256"`
	NotAfter time.Time `json:"notAfter,omitzero"`
}

func tokenMint() *cobra.Command {
	var flags configFlags
	var tenantID, description string
	var lifetime time.Duration
	var asJSON, printOnly, admins bool
	cmd := &cobra.Command{
		Use:   "mint --config FILE {--tenant ID | --admins}",
		Short: "Make a key; it is shown once, on standard output",
		Long: `Makes an API key of a tenant and prints it, once, on standard output. The state
store keeps its SHA-256 only. A running gate takes it within a second.`,
		Example: "  sangate token mint --config sangate.yaml --tenant acme >acme.token\n  sangate token mint --config sangate.yaml --tenant acme --lifetime 2160h --json\n  sangate token mint --config sangate.yaml --tenant acme --print-only --json   # for keys: in the configuration",
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
				key, id, err := apikey.Mint()
				if err != nil {
					return err
				}
				digest := apikey.Digest(key)
				out := mintedKey{ID: id, Tenant: tenantID, Key: key, SHA256: hex.EncodeToString(digest[:])}
				if lifetime > 0 {
					out.NotAfter = time.Now().Add(lifetime).UTC().Truncate(time.Second)
				}
				if !printOnly {
					e := apikey.Entry{ID: id, Tenant: tenantID, Digest: digest, NotAfter: out.NotAfter}
					if err := s.AddKey(cmd.Context(), e, description); err != nil {
						return err
					}
				}
				if asJSON {
					return printJSON(cmd, out)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "key %s of tenant %s; it is not shown again\n", id, tenantID)
				_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&tenantID, "tenant", "", "tenant the key is for")
	cmd.Flags().BoolVar(&admins, "admins", false, "a key for admins and /api, in the place of a tenant's")
	cmd.Flags().StringVar(&description, "description", "", "a note on who has it")
	cmd.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it is good for; 0: until revoked")
	cmd.Flags().BoolVar(&printOnly, "print-only", false, "do not keep it: its sha256 goes into the configuration")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// knownTenant accepts a configured id, and any valid one where a rule captures.
func knownTenant(c *config.Config, id string) error {
	if id == "" {
		return errors.New("--tenant is missing: whose key is it?")
	}
	if t := c.Table.ByID(id); t != nil && !t.Captured() {
		return nil
	}
	var known []string
	for _, t := range c.Table.Tenants() {
		if t.Captured() && t.CanCapture(id) {
			return nil
		}
		known = append(known, t.ID)
	}
	return fmt.Errorf("no tenant %q in %s; there are %v", id, "the configuration", known)
}

type listedKey struct {
	ID          string    `json:"id"`
	Tenant      string    `json:"tenant"`
	Description string    `json:"description,omitempty"`
	Source      string    `json:"source"`
	State       string    `json:"state"`
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
	RevokedAt   time.Time `json:"revokedAt,omitzero"`
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
				records, err := s.Keys(cmd.Context())
				if err != nil {
					return err
				}
				for _, e := range c.Keys {
					records = append(records, store.KeyRecord{Entry: e})
				}
				keys := []listedKey{}
				for _, r := range records {
					if tenantID == "" || r.Tenant == tenantID {
						keys = append(keys, listedKey{r.ID, r.Tenant, r.Description, r.Source, stateOf(r.Entry, time.Now()), r.CreatedAt, r.NotAfter, r.RevokedAt})
					}
				}
				if asJSON {
					return printJSON(cmd, keys)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tTENANT\tSTATE\tSOURCE\tCREATED\tNOT AFTER\tDESCRIPTION")
				for _, k := range keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%q\n", k.ID, k.Tenant, k.State, k.Source, date(k.CreatedAt), date(k.NotAfter), k.Description)
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

func stateOf(e apikey.Entry, now time.Time) string {
	switch {
	case !e.RevokedAt.IsZero():
		return "revoked"
	case !e.NotAfter.IsZero() && !now.Before(e.NotAfter):
		return "expired"
	case now.Before(e.NotBefore):
		return "not yet"
	}
	return "live"
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
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("name the id of one key; `sangate token list` has them"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd.Context(), &flags, func(c *config.Config, s *store.Store) error {
				err := s.RevokeKey(cmd.Context(), args[0], time.Now())
				if errors.Is(err, store.ErrNotFound) {
					for _, e := range c.Keys {
						if e.ID == args[0] {
							return fmt.Errorf("key %q stands in the configuration: take it out there", args[0])
						}
					}
					return fmt.Errorf("no key with the id %q in the state store; `sangate token list` has them", args[0])
				}
				return err
			})
		},
	}
	flags.add(cmd)
	return cmd
}
