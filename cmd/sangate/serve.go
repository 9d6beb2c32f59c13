package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
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
			hup := hangups()
			defer signal.Stop(hup)
			v, log := thisVersion(), newLog(cmd.ErrOrStderr())
			log.follow(c.Log)
			ofLibraries(log)
			s, err := server.New(cmd.Context(), server.Options{ConfigFile: flags.file, Overrides: flags.set,
				Version: v.Version, Commit: v.Commit, Logger: slog.New(log), FollowLog: log.follow})
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, hup)
		},
	}
	flags.add(cmd)
	return cmd
}

// hangups has signals that are not meant to end the gate no longer do so: SIGHUP,
// told by the channel, and SIGPIPE. A start may wait long for its certificate, so
// it comes before that.
func hangups() chan os.Signal {
	signal.Ignore(syscall.SIGPIPE) // an audit log on a standard output that nobody reads is an error, not the end
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup
}

// serve runs the gate, has a hangup reload it, and tells systemd how it is.
func serve(ctx context.Context, s *server.Server, hup <-chan os.Signal) error {
	defer ballast()()
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
	told := make(chan struct{})
	go func() {
		defer close(told)
		tellSystemd(ctx, s)
	}()
	err := s.Run(ctx)
	cancel()
	<-done
	<-told
	return err
}

// tellSystemd says when the gate serves and when it ends, and while it is alive
// keeps the watchdog from killing it (sd_notify(3), sd_watchdog_enabled(3)). Where
// nobody listens it does nothing.
func tellSystemd(ctx context.Context, s *server.Server) {
	tell := func(state string) { _, _ = daemon.SdNotify(false, state) } // the gate serves all the same
	select {
	case <-s.Serving():
	case <-ctx.Done():
		return
	}
	tell(daemon.SdNotifyReady)
	defer tell(daemon.SdNotifyStopping)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.Alive() == nil {
				tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}
