package material

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"time"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/server/config"
)

// LookWarnings returns what [Keeper.Warnings] would tell of the certificate and the
// trust bundle that lie on this machine, without starting anything. Files that are not
// there are left out: a configuration may be checked elsewhere than it is used.
func LookWarnings(c *config.Config, now func() time.Time) []string {
	var out []string
	failed := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			out = append(out, err.Error())
		}
	}
	snap := &pki.Snapshot{WeakKeys: c.TLS.WeakKeys()}
	if c.TLS.Cert != "" || c.TLS.StepCA != nil {
		chain, err := lookChain(c)
		if failed(err); err == nil {
			snap.Certificate = &tls.Certificate{Leaf: chain[0]}
		}
	}
	if len(c.TLS.ClientCA) > 0 {
		var err error
		snap.Bundle, err = pki.LoadBundle(config.Strings(c.TLS.ClientCA))
		failed(err)
	}
	return append(out, c.TLS.Files().Warnings(snap, now())...)
}
