package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/credential"
	"github.com/sangate/sangate/server/store"
)

func credentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "The encrypted store of secrets that the gate shows to what stands behind it",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(credentialInit(), credentialAdd(), credentialRotate(), credentialList(), credentialDelete(), credentialRewrap())
	return cmd
}

// withVault opens the credential store that the configuration names.
func withVault(cmd *cobra.Command, flags *configFlags, do func(*config.Config, *credential.Vault) error) error {
	return withVaultIn(cmd, flags, func(c *config.Config, _ *store.Store, v *credential.Vault) error { return do(c, v) })
}

func withVaultIn(cmd *cobra.Command, flags *configFlags,
	do func(*config.Config, *store.Store, *credential.Vault) error) error {
	return withStore(cmd.Context(), flags, func(c *config.Config, s *store.Store) error {
		if c.Credentials == nil || c.Credentials.KEK == "" {
			return usage(errors.New("the configuration has no credentials.kek: name the key that the store is encrypted under, such as file:/etc/sangate/kek"))
		}
		log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		return do(c, s, credential.New(s, c.Credentials.KEK, log))
	})
}

func credentialInit() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "init --config FILE",
		Short: "Make the keys of the store, and the key they are wrapped by where that is a file",
		Long: `Makes the keys that credentials are sealed by, and the key encryption key where
credentials.kek is a file that is not there. Keep a copy of that file, and not
beside the store: without it nothing in the store can be read. What is there
already is left alone.`,
		Example: "  sangate credential init --config sangate.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withVault(cmd, &flags, func(c *config.Config, v *credential.Vault) error {
				kekMade, keysMade, err := v.Init(cmd.Context())
				if kekMade {
					fmt.Fprintf(cmd.OutOrStdout(), "made %s (mode 0600): keep a copy of it elsewhere\n", strings.TrimPrefix(c.Credentials.KEK, "file:"))
				}
				if err != nil {
					return err
				}
				if keysMade {
					fmt.Fprintln(cmd.OutOrStdout(), "made the keys of the credential store")
				} else {
					fmt.Fprintln(cmd.OutOrStdout(), "the credential store has keys, and they open")
				}
				return nil
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func credentialAdd() *cobra.Command {
	var flags configFlags
	var s credential.Secret
	var typ, description, file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add --config FILE --name NAME --type {ApiKey | Basic | OAuth2} [--tenant ID]",
		Short: "Keep a secret, which is read from standard input or a file",
		Long: `Seals a secret and prints its id, by which mcpServers refer to it. Tools of a
tenant refer to it by name.

  ApiKey   the key itself; sent as Authorization: Bearer, or in --header
  Basic    user:password
  OAuth2   {"tokenUrl":"https://…","clientId":"…","clientSecret":"…","scopes":["…"]}`,
		Example: "  sangate credential add --config sangate.yaml --name zendesk --tenant acme --type Basic <zendesk.secret\n  sangate credential add --config sangate.yaml --name search --type ApiKey --header X-Api-Key --value-file search.key",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withVault(cmd, &flags, func(c *config.Config, v *credential.Vault) (err error) {
				if s.Tenant != "" {
					if err := knownTenant(c, s.Tenant); err != nil {
						return usage(err)
					}
				}
				s.Type = credential.Type(typ)
				if s.Value, err = readSecret(cmd, file); err != nil {
					return err
				}
				info, err := v.Add(cmd.Context(), &s, description, "sangate credential add")
				if invalid, ok := errors.AsType[*credential.InvalidError](err); ok {
					return usage(invalid)
				}
				if err != nil {
					return err
				}
				if err := auditChange(c, "credential.add", credential.Describe(info)); err != nil {
					return err
				}
				return printCredential(cmd, info, asJSON)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&s.Name, "name", "", "what it is called, once for each tenant (required)")
	cmd.Flags().StringVar(&typ, "type", "", "ApiKey, Basic or OAuth2 (required)")
	cmd.Flags().StringVar(&s.Tenant, "tenant", "", "tenant that alone may use it; else any may")
	cmd.Flags().StringVar(&s.Header, "header", "", "header that an ApiKey goes into, in the place of Authorization")
	cmd.Flags().StringVar(&description, "description", "", "a note on what it is for")
	cmd.Flags().StringVar(&file, "value-file", "-", "file with the secret; - is standard input")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printCredential(cmd *cobra.Command, info credential.Info, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, info)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: version %d\n", credential.Describe(info), info.Version)
	return err
}

func credentialRotate() *cobra.Command {
	var flags configFlags
	var file string
	var version int64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate --config FILE ID",
		Short: "Put another secret in the place of one, read from standard input or a file",
		Long: `Seals another value. Running gates show it from their next request on, and
ask upstreams that refer to it again what they have.`,
		Example: "  sangate credential rotate --config sangate.yaml 55 <zendesk.secret",
		Args:    oneCredential,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withCredential(cmd, &flags, args[0], func(c *config.Config, v *credential.Vault, id int64) error {
				value, err := readSecret(cmd, file)
				if err != nil {
					return err
				}
				info, err := v.Update(cmd.Context(), id, value, version)
				if invalid, ok := errors.AsType[*credential.InvalidError](err); ok {
					return usage(invalid)
				}
				if err != nil {
					return err
				}
				if err := auditChange(c, "credential.rotate", credential.Describe(info)); err != nil {
					return err
				}
				return printCredential(cmd, info, asJSON)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&file, "value-file", "-", "file with the secret; - is standard input")
	cmd.Flags().Int64Var(&version, "if-version", 0, "only where it is at this version")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func oneCredential(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(errors.New("name the id of one credential; `sangate credential list` has them"))
	}
	return nil
}

func withCredential(cmd *cobra.Command, flags *configFlags, id string, do func(*config.Config, *credential.Vault, int64) error) error {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 {
		return usage(fmt.Errorf("%q is no id of a credential; `sangate credential list` has them", id))
	}
	return withVault(cmd, flags, func(c *config.Config, v *credential.Vault) error { return do(c, v, n) })
}

func credentialList() *cobra.Command {
	var flags configFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list --config FILE",
		Short:   "List credentials: ids, names and versions, never the secrets",
		Example: "  sangate credential list --config sangate.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withVault(cmd, &flags, func(_ *config.Config, v *credential.Vault) error {
				list, err := v.List(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, list)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tNAME\tTENANT\tTYPE\tVERSION\tUPDATED\tDESCRIPTION")
				for _, c := range list {
					tenant := c.Tenant
					if tenant == "" {
						tenant = "-"
					}
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\t%q\n", c.ID, c.Name, tenant, c.Type, c.Version, date(c.UpdatedAt), c.Description)
				}
				return w.Flush()
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func credentialDelete() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:     "delete --config FILE ID",
		Short:   "Take a secret out, where nothing in the configuration refers to it",
		Example: "  sangate credential delete --config sangate.yaml 55",
		Args:    oneCredential,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withCredential(cmd, &flags, args[0], func(c *config.Config, v *credential.Vault, id int64) error {
				info, err := v.Info(cmd.Context(), id)
				if err != nil {
					return err
				}
				if uses := c.Uses(info); len(uses) > 0 {
					return fmt.Errorf("%s is in use by %s: take it out of the configuration there first", credential.Describe(info), strings.Join(uses, ", "))
				}
				if info, err = v.Delete(cmd.Context(), id, info.Version); err != nil {
					return err
				}
				return auditChange(c, "credential.delete", credential.Describe(info))
			})
		},
	}
	flags.add(cmd)
	return cmd
}
