// Package server is the gate: two listeners, one decision for every request,
// and the tools behind it.
//
// [New] reads the configuration and everything it names; [Server.Run] serves
// until its context ends and returns when all it started has stopped. A changed
// file is read whole and swapped in as one snapshot, or not at all.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/server/admin"
	"github.com/sangate/sangate/server/api"
	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/backend"
	"github.com/sangate/sangate/server/boundlog"
	"github.com/sangate/sangate/server/config"
	"github.com/sangate/sangate/server/console"
	"github.com/sangate/sangate/server/forwarded"
	"github.com/sangate/sangate/server/intake"
	"github.com/sangate/sangate/server/issuers"
	"github.com/sangate/sangate/server/limit"
	"github.com/sangate/sangate/server/material"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/octopus"
	"github.com/sangate/sangate/server/standing"
	"github.com/sangate/sangate/server/store"
	"github.com/sangate/sangate/server/tenant"
	"github.com/sangate/sangate/server/tool"
	"github.com/sangate/sangate/server/tracing"
	"github.com/sangate/sangate/server/turns"
	"github.com/sangate/sangate/server/unread"
)

// Options of a Server. ConfigFile is required; the rest has defaults.
type Options struct {
	ConfigFile string
	Overrides  []string     // key=value, as from --set
	Tools      []*tool.Tool // beside the built-ins
	Resources  []*tool.Resource
	Prompts    []*tool.Prompt
	Version    string
	Commit     string
	Logger     *slog.Logger     // discards where nil
	FollowLog  func(config.Log) // hears what is in force of the log, for who made Logger; may be nil
	Now        func() time.Time // time.Now where nil

	// Listeners to serve on instead of those the configuration names.
	Listener, AdminListener net.Listener

	// NextRenewal tells when the server certificate will be renewed, where
	// that is known; zero or nil where not.
	NextRenewal func() time.Time
}

// startWait is how long a start waits for OpenAPI documents; it goes on without those
// that take longer.
const startWait = 30 * time.Second

// A Server is a gate.
type Server struct {
	opts        Options
	log         *slog.Logger
	repeated    *slog.Logger // the same for lines that a peer can cause at will: counts them
	metrics     *admin.Metrics
	store       *store.Store
	standing    *standing.Keeper
	pki         *material.Keeper
	issuers     *issuers.Book
	gate        *auth.Gate
	live        *live // requests that are admitted
	finishing   *live // others, whose answer is being sent
	conns       *connections
	backend     *backend.Backend
	octopus     *octopus.Handler
	credentials *api.Credentials
	revocations *api.Revocations
	keys        *api.Keys
	used        keyUse
	journal     journal
	limiter     *limit.Limiter
	unread      *unread.Budget
	intake      *intake.Budget
	turns       *turns.Turns // of work on large bodies and answers
	proxied     forwarded.Reader
	mcp         *mcp.Handler
	api         *http.ServeMux // what is below /api, for admins

	limits   config.Limits // those of the start
	builtins []*tool.Tool

	mu     sync.Mutex                       // one change of the snapshot at a time
	config atomic.Pointer[config.Config]    // stored under mu
	denied []store.Revocation               // those in force; under mu
	stored []apikey.Entry                   // keys of the state store in force; under mu
	own    tool.Offer                       // what is made of Go functions; under mu
	claims tool.Claims                      // who has which name; under mu
	twice  atomic.Pointer[[]tool.Collision] // told already; written under mu
	failed reloads

	versions map[int64]int64 // of credentials, as seen last; under mu
	reload   chan struct{}   // by Reload
	serving  chan struct{}   // closed once it serves
	built    atomic.Bool     // all above is there
	started  time.Time
	loaded   time.Time // the configuration in force; under mu
	refusals console.Refusals
	tracer   *tracing.Tracer // nil: nothing is traced
	draining atomic.Bool
	admin    *admin.Listener
	step     atomic.Pointer[string] // that New is at
	renewal  outcome                // of the server certificate
	roots    outcome                // of those that come with it
}

// New loads the configuration and all it names, and opens the state store and the
// admin listener, which answers while the first certificate is waited for. [Server.Run]
// closes both. The error of a bad configuration is config.Problems.
func New(ctx context.Context, opts Options) (_ *Server, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Logger = slog.New(boundlog.New(opts.Logger.Handler()))
	c, err := config.Load(opts.ConfigFile, opts.Overrides)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, log: opts.Logger, repeated: slog.New(boundlog.NewRepeated(opts.Logger.Handler())), limits: c.Limits, reload: make(chan struct{}, 1), serving: make(chan struct{}), started: opts.Now(), loaded: opts.Now(),
		metrics: admin.NewMetrics(opts.Version, opts.Commit), live: newLive(), finishing: newLive(),
		conns:   newConnections(c.Limits.MaxConnectionAge, c.Limits.ConnectionGrace),
		limiter: limit.New(limit.Options{FailureBurst: c.Limits.FailureBurst, FailureEvery: c.Limits.FailureEvery, Now: opts.Now})}
	s.unread, s.intake = unread.New(unreadBounds(&c.Limits)), intake.New(c.Limits.RequestBytes)
	s.turns = turns.ForCPU()
	s.metrics.Unread(s.unread)
	s.config.Store(c)
	s.log = slog.New(redacted{s.log.Handler(), s.redact})
	s.opts.Logger = s.log
	defer func() { err = c.Redact(err) }()
	s.followLog(c.Log)
	if s.store, err = store.Open(ctx, string(c.State), store.Options{Logger: s.log}); err != nil {
		return nil, fmt.Errorf("state store: %w", err)
	}
	if err = s.openStanding(ctx); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	if err = s.tryListen(); err == nil {
		err = s.openAdmin()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	// Building waits for the first certificate, and who asks meanwhile is told so.
	if err := s.admin.While(s.adminServer(), func() error { return s.build(ctx) }); err != nil {
		return nil, errors.Join(err, s.closeAdmin(), s.close())
	}
	s.built.Store(true)
	return s, nil
}

// build makes the first snapshot and the handlers over it.
func (s *Server) build(ctx context.Context) error {
	var denied *revocation.Denylist
	var err error
	if s.denied, denied, err = s.readDenied(ctx); err != nil {
		return err
	}
	s.starting("it waits for its first certificate")
	s.pki, err = material.Open(ctx, s.config.Load(), material.Options{Logger: s.log, Now: s.opts.Now, Denied: denied,
		OnRenewal: s.renewed, OnPlan: s.metrics.NextRenewal, OnUpdate: s.updated, OnOCSP: s.metrics.OCSP, TakeUp: s.materialChanged,
		OnList: s.metrics.List, AdmitList: s.standing.AdmitList, ListKept: s.standing.ListKept})
	if err != nil {
		return err
	}
	s.series()
	s.warn()
	if s.builtins, err = tool.Builtins(s.certificates, s.opts.Now); err != nil {
		return err
	}
	s.own = tool.Offer{Tools: s.opts.Tools, Resources: s.opts.Resources, Prompts: s.opts.Prompts}
	if err := s.own.Compile(); err != nil {
		return err
	}
	s.backend = backend.New(backend.Options{Store: s.store, Floor: s.standing.Floor, Logger: s.log, Now: s.opts.Now, Version: s.opts.Version, Certificate: s.ownCertificate,
		Changed: s.offersChanged, OnResolve: s.metrics.Resolution, OnCycle: s.metrics.Upstream, OnExchange: s.exchanged})
	s.starting("it reads what its tools are declared by")
	plan, err := s.backend.Prepare(ctx, s.config.Load(), startWait)
	if err != nil {
		return err
	}
	plan.Commit()
	joined, err := s.join(s.config.Load(), &s.own, plan.Declared())
	if err != nil {
		return err
	}
	catalog := s.adopt(joined)
	s.backend.Check(ctx)
	ring, stored, err := s.readKeys(ctx, s.config.Load())
	if err != nil {
		return err
	}
	s.stored = stored
	s.issuers = issuers.New(issuers.Options{Logger: s.log, Now: s.opts.Now, Changed: s.tokenKeysChanged, OnRefresh: s.metrics.KeySet})
	tokens, err := s.issuers.Prepare(s.config.Load())
	if err != nil {
		return err
	}
	log, err := s.openAudit(s.config.Load())
	if err == nil {
		err = s.journal.use(log, s.config.Load())
	}
	if err != nil {
		return err
	}
	first := &auth.Snapshot{Generation: 1, Tenants: s.config.Load().Table, Admins: s.config.Load().AdminTable, Keys: ring,
		Proxies: s.config.Load().ProxySet, Tokens: tokens.Commit(), Tools: catalog}
	s.takePKI(first, s.config.Load())
	s.gate = auth.NewGate(first, s.opts.Now)
	s.metrics.Holdings(admin.Holdings{Certificates: s.inForce, Lists: s.pki.Lists, KeySets: s.issuers.Seen, Rejected: s.rejected,
		Documents: s.backend.Imported})
	s.octopus = &octopus.Handler{Admit: s.admit, Run: s.run, MaxBody: s.limits.MaxBodyBytes}
	s.revocations = &api.Revocations{Store: s.store, Vet: s.vetRevocation, Changed: s.reloadDenied, Audit: s.auditChange, Recheck: s.mayChange, Log: s.log, MaxBody: s.limits.MaxBodyBytes}
	s.keys = &api.Keys{Store: s.store, Configured: s.configuredKeys, Changed: s.reloadKeys, Audit: s.auditChange, Recheck: s.mayChange, Log: s.log, Now: s.opts.Now, MaxBody: s.limits.MaxBodyBytes,
		Knows: func(id string) bool { return id == tenant.Admins || s.gate.Snapshot().Tenants.Knows(id) }}
	s.credentials = &api.Credentials{Vault: s.backend.Vault, Uses: s.backend.Uses, Changed: s.backend.Refresh, Audit: s.auditChange, Recheck: s.mayChange, Log: s.log, MaxBody: s.limits.MaxBodyBytes,
		Knows: func(id string) bool { return s.gate.Snapshot().Tenants.Knows(id) }}
	if err := s.trace(ctx, s.config.Load()); err != nil {
		return err
	}
	traced := s.tracedMessage
	if s.tracer == nil {
		traced = nil
	}
	s.mcp = mcp.New(mcp.Options{Traced: traced, Admit: s.admit, Refuse: s.refuse, Run: s.run, Expect: s.expect, Use: s.use, Listens: s.listens, Watching: s.watches, Copied: copied, MaxBody: s.limits.MaxBodyBytes, Now: s.opts.Now,
		Version: s.opts.Version, Logger: s.log, Repeated: s.repeated})
	s.api = s.apiRoutes()
	return nil
}

// Reload looks at all files at once, changed or not: for SIGHUP.
func (s *Server) Reload() {
	select {
	case s.reload <- struct{}{}:
	default: // one is waiting already
	}
}

// Metrics returns the registry the gate counts in.
func (s *Server) Metrics() *admin.Metrics { return s.metrics }

func (s *Server) close() error {
	if s.tracer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if err := s.tracer.Close(ctx); err != nil {
			s.log.Warn("the last traces are not sent", "err", err)
		}
	}
	return errors.Join(s.store.Close(), s.journal.use(nil, &config.Config{}))
}
