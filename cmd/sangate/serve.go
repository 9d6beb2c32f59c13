package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/config"
)

// configFlags are those of every command that reads a configuration.
type configFlags struct {
	file string
	set  []string
}

func (f *configFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file (required)")
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "override a value, as in --set listen=127.0.0.1:8443")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// check refuses a missing --config with exit code 2.
func (f *configFlags) check() error {
	if f.file == "" {
		return usage(errors.New("--config is missing: name the configuration file"))
	}
	return nil
}

func serveCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:     "serve --config FILE",
		Short:   "Run the gate",
		Example: "  sangate serve --config /etc/sangate/sangate.yaml\n  sangate serve --config sangate.yaml --set log.level=debug",
		Long: `Runs the gate until it is told to stop (SIGTERM, SIGINT), then drains.

Changed files (configuration, certificates, client CAs) are read again by
themselves; SIGHUP has them read at once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			c, err := config.Load(flags.file, flags.set)
			if err != nil {
				return usage(err)
			}
			v := thisVersion()
			s, err := server.New(cmd.Context(), server.Options{ConfigFile: flags.file, Overrides: flags.set,
				Version: v.Version, Commit: v.Commit, Logger: newLogger(cmd.ErrOrStderr(), c.Log)})
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s)
		},
	}
	flags.add(cmd)
	return cmd
}

// serve runs the gate and has SIGHUP reload it.
func serve(ctx context.Context, s *server.Server) error {
	defer ballast()()
	signal.Ignore(syscall.SIGPIPE) // an audit log on a standard output that nobody reads is an error, not the end
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hup:
				s.Reload()
			case <-ctx.Done():
				return
			}
		}
	}()
	err := s.Run(ctx)
	signal.Stop(hup)
	cancel()
	<-done
	return err
}

func newLogger(w io.Writer, l config.Log) *slog.Logger {
	level, _ := l.SlogLevel() // was checked when the configuration was loaded
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
