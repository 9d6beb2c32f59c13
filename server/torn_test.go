package server_test

import (
	"testing"
	"time"

	"github.com/sangate/sangate/server/servertest"
)

// A certificate file cut off exactly below the leaf reads as whole. However long
// it stays so, and whether or not the gate is told to look, the last good one is
// shown until the issuer is there, too.
func TestIssuerNotYetWritten(t *testing.T) {
	for name, look := range map[string]func(*servertest.Gate){
		"noticed": func(*servertest.Gate) {}, "told to look": func(g *servertest.Gate) { g.Server.Reload() },
	} {
		t.Run(name, func(t *testing.T) {
			d := newPairFiles(t, servertest.Options{})
			var load rotationLoad
			stop := load.start(d)
			defer stop()
			d.replace(ways[0], 1, false)
			reloads := d.g.By("sangate_certificate_reloads_total", "result")
			next := d.issue()
			d.put("server.key", next.KeyPEM(t))()
			chain := next.CertPEM()
			d.put("server.crt", chain[:len(chain)-len(d.issuer.PEM())])()
			look(d.g)
			if !servertest.WaitFor(func() bool {
				now := d.g.By("sangate_certificate_reloads_total", "result")
				return now["error"] >= reloads["error"]+2 || now["ok"] > reloads["ok"]
			}, 10*time.Second) {
				t.Fatal("the gate has not looked")
			}
			if now := d.g.By("sangate_certificate_reloads_total", "result"); now["ok"] != reloads["ok"] {
				t.Error("taken up without its issuer")
			}
			d.note(next)
			d.put("server.crt", chain)()
			d.shows(next)
		})
	}
}
