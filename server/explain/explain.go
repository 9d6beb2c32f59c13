// Package explain walks the decision on a request that nobody sent: what a gate
// with this configuration would say to that certificate, token and tenant header,
// step by step, and by which rule.
//
// It decides nothing by itself. The same auth.Gate as in the gate does, over a
// snapshot of what lies on this machine; the steps are read off its Decision.
package explain

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sangate/sangate/server"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/document"
	"github.com/sangate/sangate/server/httptool"
	"github.com/sangate/sangate/server/issuers"
	"github.com/sangate/sangate/server/material"
	"github.com/sangate/sangate/server/openapi"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tool"
)

// A Question is what is decided about.
type Question struct {
	Chain        []*x509.Certificate // leaf first, as the client would send it
	Token        *string             // the second factor; nil: none is sent
	TenantHeader *string             // X-Octopus-Tenant-Id; nil: none is sent
	Tool         string              // to be called; "": none
	Admin        bool                // it is for /api
	ClientCA     []string            // stands in for a trust bundle that is elsewhere
	At           time.Time           // now where zero
}

// keyWait bounds the wait for the keys of an issuer.
const keyWait = 10 * time.Second

// Ask decides by a configuration. Its error is about what the decision would be
// made by, not about the decision.
func Ask(ctx context.Context, c *config.Config, q Question) (*Report, error) {
	now := time.Now
	if !q.At.IsZero() {
		now = func() time.Time { return q.At }
	}
	snap, notes, end, err := look(ctx, c, q.ClientCA, now)
	if err != nil {
		return nil, err
	}
	defer end()
	r := newReport(snap, q, notes)
	peer, err := snap.PKI.Verify(q.Chain, now)
	if err != nil {
		r.handshake(err)
		return r, nil
	}
	r.handshake(nil)
	request := auth.Request{Peer: peer, Admin: q.Admin}
	if q.Token != nil {
		request.Authorization = []string{"Bearer " + *q.Token}
	}
	if q.TenantHeader != nil {
		request.TenantHeader = []string{*q.TenantHeader}
	}
	gate := auth.NewGate(snap, now)
	d := gate.Decide(request)
	if d.Missing != nil {
		ctx, cancel := context.WithTimeout(ctx, keyWait)
		defer cancel()
		d.Missing.Await(ctx)
		next := *snap
		next.Tokens = snap.Tokens.Renew()
		gate.Swap(&next)
		d = gate.Decide(request)
	}
	unknown := false
	if q.Tool != "" && d.OK() && !q.Admin {
		unknown = d.Snapshot.Tools.Lookup(q.Tool) == nil
		d.Call(context.Background(), q.Tool, nil)
	}
	r.decided(&d, unknown)
	return r, nil
}

// look makes the snapshot that the decision reads. end stops what it started.
func look(ctx context.Context, c *config.Config, clientCA []string, now func() time.Time) (snap *auth.Snapshot, notes []string, end func(), err error) {
	nothing := slog.New(slog.DiscardHandler)
	keys, denied := slices.Clone(c.Keys), []store.Revocation(nil)
	if store.Exists(string(c.State)) {
		s, err := store.Open(ctx, string(c.State), store.Options{})
		if err != nil {
			return nil, nil, nil, fmt.Errorf("state store: %w", err)
		}
		standingErr := standing.Look(ctx, s, c.MarkFile())
		records, keysErr := s.Keys(ctx)
		revocations, deniedErr := s.Revocations(ctx)
		if err := errors.Join(standingErr, keysErr, deniedErr, s.Close()); err != nil {
			return nil, nil, nil, fmt.Errorf("state store: %w", err)
		}
		for _, r := range records {
			keys = append(keys, r.Entry)
		}
		denied = revocations
	} else {
		notes = append(notes, fmt.Sprintf("there is no state store in %s yet: keys are those of the configuration", c.State))
	}
	list, err := server.StoredDenylist(denied)
	if err != nil {
		return nil, nil, nil, err
	}
	known, missing, err := material.Look(ctx, c, clientCA, material.Options{Logger: nothing, Now: now, Denied: list})
	if err != nil {
		return nil, nil, nil, err
	}
	if missing != nil {
		notes = append(notes, missing.Error())
	}
	ring, err := apikey.NewRing(keys)
	if err != nil {
		return nil, nil, nil, err
	}
	builtins, err := tool.Builtins(func() []tool.GateCertificate { return nil }, now)
	if err != nil {
		return nil, nil, nil, err
	}
	tools, unread, err := declared(ctx, c, builtins)
	if err != nil {
		return nil, nil, nil, err
	}
	notes = append(notes, unread...)
	catalog, err := tool.NewCatalog(tools)
	if err != nil {
		return nil, nil, nil, err
	}
	if n := len(c.MCPServers); n > 0 {
		notes = append(notes, fmt.Sprintf("what the %d mcpServers have to offer is not known here: a tool of theirs is as unknown", n))
	}
	book := issuers.New(issuers.Options{Logger: nothing, Now: now, Changed: func() {}, OnRefresh: func(string, error) {}})
	tokens, err := book.Prepare(c)
	if err != nil {
		return nil, nil, nil, err
	}
	snap = &auth.Snapshot{Generation: 1, PKI: known, Tenants: c.Table, Admins: c.AdminTable, Keys: ring, Tokens: tokens.Commit(), Tools: catalog}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { book.Run(ctx) })
	return snap, notes, func() { cancel(); wg.Wait() }, nil
}

// declared are the tools that stand in the configuration, the built-ins among them.
// None of them is called here. The notes name documents whose tools are not known.
func declared(ctx context.Context, c *config.Config, builtins []*tool.Tool) (tools []*tool.Tool, notes []string, err error) {
	tools, err = httptool.Tools(c.Tools.HTTP, httptool.Options{})
	if err != nil {
		return nil, nil, err
	}
	tools = append(c.Tools.Chosen(builtins), tools...)
	taken := make(map[string]bool)
	for _, t := range tools {
		taken[t.Name] = true
	}
	for i := range c.Tools.OpenAPI {
		o := &c.Tools.OpenAPI[i]
		text, err := document.Offline(string(c.State), o)
		var imported []*httptool.Program
		if err == nil {
			imported, _, err = openapi.Import(ctx, slog.New(slog.DiscardHandler), text, o.Options())
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("the tools of OpenAPI document %s are not known here: %v", o.Name, c.Redact(err)))
			continue
		}
		for _, program := range imported {
			if taken[program.Name()] { // the server leaves it out, too
				continue
			}
			taken[program.Name()] = true
			t, err := program.Tool(httptool.Options{})
			if err != nil {
				return nil, nil, err
			}
			tools = append(tools, t)
		}
	}
	return tools, notes, nil
}
