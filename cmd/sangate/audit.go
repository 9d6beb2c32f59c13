package main

import (
	"errors"
	"fmt"
	"os/user"

	"github.com/sangate/sangate/server/audit"
	"github.com/sangate/sangate/server/config"
)

// auditChange writes down, in the audit log of the configuration, what a command
// has changed. One that goes to the gate's standard output cannot be written to
// from here.
func auditChange(c *config.Config, action, object string) (err error) {
	if c.Audit == nil || c.Audit.File == "-" {
		return nil
	}
	who := "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	var missing error
	log, err := audit.Open(audit.Options{File: string(c.Audit.File), MaxSize: c.Audit.MaxBytes, Backups: c.Audit.Backups,
		OnError: func(err error) { missing = err }})
	if err == nil {
		log.Write(&audit.Record{Kind: audit.Change, Action: action, Object: object, Identity: "local user " + who, Outcome: "ok"})
		err = errors.Join(missing, log.Close())
	}
	if err != nil {
		return fmt.Errorf("it was done, but not written to the audit log: %w", err)
	}
	return nil
}
