package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"syscall"

	"github.com/sangate/sangate/server"
)

const (
	configVariable  = "SANGATE_BENCH_CONFIG"
	profileVariable = "SANGATE_BENCH_PROFILE"
)

// profiled is a gate in this process whose CPU profile is written when it ends.
func profiled() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := server.New(ctx, server.Options{ConfigFile: os.Getenv(configVariable),
		Overrides: []string{"listen=" + os.Getenv(listenVariable), "admin=" + os.Getenv(adminVariable)},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	out, err := os.Create(os.Getenv(profileVariable))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			s.Reload()
		}
	}()
	err = s.Run(ctx)
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// profile has a gate do everything that is measured, and keeps its CPU profile.
func (f *field) profile(ctx context.Context) error {
	config, err := f.w.config("gate", "", "")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	addr, admin, err := twoAddresses()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleVariable+"=gate", configVariable+"="+config, profileVariable+"="+f.o.profile,
		listenVariable+"="+addr, adminVariable+"="+admin)
	if f.gate, err = f.keep(start(ctx, cmd, addr, admin)); err != nil {
		return err
	}
	targets := f.gateCalls()
	fresh := f.octopus("gate, new connections", f.gate, f.w.key)
	fresh.oneShot = true
	hup := f.octopus("gate, reloaded", f.gate, f.w.key)
	hup.during = f.hup
	targets = append(targets, fresh, hup)
	if f.o.only.String() != "" {
		kept := targets[:0]
		for _, t := range targets {
			if f.o.only.MatchString(t.name) {
				kept = append(kept, t)
			}
		}
		targets = kept
	}
	if _, err := f.rounds(ctx, targets); err != nil {
		return err
	}
	f.stop()
	f.started = nil
	fmt.Fprintln(os.Stderr, "profile written to", f.o.profile)
	return nil
}
