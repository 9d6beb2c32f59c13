// Package admin is what operators look at: metrics, health and readiness, on a
// listener of their own. Nothing on it changes anything or shows a secret, and
// no label takes a value that a peer can choose.
package admin

import (
	"crypto/tls"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/ocsp"
	"github.com/sangate/sangate/pki/revocation"
	"github.com/sangate/sangate/pki/stepca"
	"github.com/sangate/sangate/server/admission"
	"github.com/sangate/sangate/server/auth"
	"github.com/sangate/sangate/server/mcp"
	"github.com/sangate/sangate/server/tracing"
	"github.com/sangate/sangate/server/unread"
)

// Metrics are the gate's own, on a registry of their own.
type Metrics struct {
	Registry *prometheus.Registry
	defined  *definitions

	handshakes    *prometheus.CounterVec
	groups        *prometheus.CounterVec
	decisions     *prometheus.CounterVec
	decisionTime  *prometheus.HistogramVec
	certReloads   *prometheus.CounterVec
	configReloads *prometheus.CounterVec
	renewals      *prometheus.CounterVec
	nextRenewal   *prometheus.GaugeVec
	lastError     *prometheus.GaugeVec
	rootErrors    prometheus.Counter
	listUpdates   *prometheus.CounterVec
	revocations   *prometheus.CounterVec
	dropped       *prometheus.CounterVec
	dropReasons   *prometheus.CounterVec
	answersCut    *prometheus.CounterVec
	unread        atomic.Pointer[unread.Budget]
	standing      atomic.Pointer[standing]
	ocsp          *prometheus.CounterVec
	keySets       *prometheus.CounterVec
	resolutions   *prometheus.CounterVec
	upstreamUp    *prometheus.GaugeVec
	upstreamTime  *prometheus.HistogramVec
	toolCalls     *prometheus.CounterVec
	toolTime      *prometheus.HistogramVec
	uses          *prometheus.CounterVec
	useTime       *prometheus.HistogramVec
	spans         *prometheus.CounterVec

	lists, revokers, issuers, upstreams names // with series

	decided series[decisionLabels, prometheus.Counter]
	called  series[callLabels, callSeries]
	used    series[useLabels, callSeries]
	timed   series[string, *exemplified] // by factor

	exchanged series[string, *exemplified] // by upstream

	tools, others folder // names of tools, and of resources and prompts

	Connections prometheus.Gauge
	Streams     prometheus.Gauge
	AuditErrors prometheus.Counter
}

// NewMetrics makes and registers all metrics, counters at zero for every
// reason there is.
func NewMetrics(version, commit string) *Metrics {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	f := &definitions{factory: promauto.With(reg)}
	m := &Metrics{
		Registry:   reg,
		defined:    f,
		handshakes: f.counter("sangate_tls_handshakes_total", "TLS handshakes, by result (ok or the reason of the refusal), version and resumption.", "result", "version", "resumed"),
		groups:     f.counter("sangate_tls_key_exchanges_total", "TLS handshakes that were done, by key exchange.", "group"),
		decisions:  f.counter("sangate_auth_decisions_total", "Decisions on requests, by stage, reason and tenant rule.", "stage", "reason", "tenant"),
		decisionTime: f.histogram("sangate_auth_duration_seconds", "Time a decision took, by the factors it checked.",
			[]float64{1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2}, "factor"),
		certReloads:   f.counter("sangate_certificate_reloads_total", "Reloads of the gate's certificate and trust bundle.", "result"),
		configReloads: f.counter("sangate_config_reloads_total", "Reloads of the configuration.", "result"),
		renewals:      f.counter("sangate_certificate_renewals_total", "Attempts to enrol or renew a certificate of the gate.", "result"),
		nextRenewal:   f.gauge("sangate_certificate_next_renewal_timestamp_seconds", "When the next attempt is planned.", "name"),
		lastError:     f.gauge("sangate_certificate_renewal_last_error_timestamp_seconds", "When an attempt failed last; 0: none has.", "name"),
		rootErrors: f.counter("sangate_ca_roots_errors_total",
			"Attempts to get the roots of the CA that the gate's certificate comes from which failed.").WithLabelValues(),
		listUpdates: f.counter("sangate_crl_updates_total", "Looks at revocation lists, by what came of them.", "name", "result"),
		revocations: f.counter("sangate_revocations_total",
			"Handshakes and requests refused because a certificate was revoked, by the list, denylist or responder that says so.", "name"),
		ocsp:    f.counter("sangate_ocsp_answers_total", "Questions to OCSP responders about clients, by what came of them.", "result"),
		keySets: f.counter("sangate_jwks_refreshes_total", "Looks at the keys of token issuers.", "issuer", "result"),
		dropped: f.counter("sangate_trust_anchors_dropped_total",
			"Certificates in use whose CA a reload of the trust bundle dropped: our own (server), or of connected clients (client).", "role"),
		dropReasons:  f.counter("sangate_connections_dropped_total", "Connections dropped or refused to keep others served, by reason.", "reason"),
		answersCut:   f.counter("sangate_answers_cut_total", "Answers cut because their client did not read them, by reason.", "reason"),
		resolutions:  f.counter("sangate_credential_resolutions_total", "Look-ups of secrets, by what came of them.", "result"),
		upstreamUp:   f.gauge("sangate_upstream_up", "Whether the last look at an upstream found its tools: 1, or 0.", "server"),
		upstreamTime: f.histogram("sangate_upstream_request_duration_seconds", "Time an upstream took to answer a call.", prometheus.DefBuckets, "server"),
		toolCalls:    f.counter("sangate_tool_calls_total", "Tool calls, by result.", "tool", "tenant", "result"),
		toolTime:     f.histogram("sangate_tool_call_duration_seconds", "Time tool calls took.", prometheus.DefBuckets, "tool", "tenant", "result"),
		uses:         f.counter("sangate_mcp_uses_total", "Resource reads, prompt gets and completions, by kind and result.", "kind", "name", "tenant", "result"),
		useTime:      f.histogram("sangate_mcp_use_duration_seconds", "Time resource reads, prompt gets and completions took.", prometheus.DefBuckets, "kind", "name", "tenant", "result"),
		Connections:  f.gauge("sangate_connections_open", "Open client connections, handshake done.").WithLabelValues(),
		AuditErrors:  f.counter("sangate_audit_errors_total", "Records that could not be written to the audit log.").WithLabelValues(),
		Streams:      f.gauge("sangate_streams_open", "Requests in progress: calls and event streams.").WithLabelValues(),
	}
	f.function("sangate_unread_answer_bytes", "Bytes of answers in memory that clients have not read.", func() float64 {
		if b := m.unread.Load(); b != nil {
			return float64(b.Held())
		}
		return 0
	})
	m.standings(f)
	f.gauge("sangate_build_info", "Always 1; the labels say what runs.", "version", "commit", "go").
		WithLabelValues(version, commit, runtime.Version()).Set(1)
	m.decided.make = func(l decisionLabels) prometheus.Counter {
		return m.decisions.WithLabelValues(l.stage, l.reason, l.tenant)
	}
	m.called.make = func(l callLabels) callSeries {
		return callSeries{m.toolCalls.WithLabelValues(l.tool, l.tenant, l.result), &exemplified{Observer: m.toolTime.WithLabelValues(l.tool, l.tenant, l.result)}}
	}
	m.used.make = func(l useLabels) callSeries {
		return callSeries{m.uses.WithLabelValues(l.kind, l.name, l.tenant, l.result), &exemplified{Observer: m.useTime.WithLabelValues(l.kind, l.name, l.tenant, l.result)}}
	}
	m.timed.make = func(factor string) *exemplified {
		return &exemplified{Observer: m.decisionTime.WithLabelValues(factor)}
	}
	m.defineTraces(tracing.Results())
	m.exchanged.make = func(server string) *exemplified {
		return &exemplified{Observer: m.upstreamTime.WithLabelValues(server)}
	}
	m.zero()
	return m
}

func (m *Metrics) zero() {
	m.handshakes.WithLabelValues("ok", "1.3", "false")
	m.groups.WithLabelValues(tls.X25519MLKEM768.String())
	for _, r := range pki.HandshakeReasons() {
		m.handshakes.WithLabelValues(string(r), "", "false")
	}
	for stage, reason := range auth.Reasons {
		m.decisions.WithLabelValues(string(stage), string(reason), "")
	}
	for _, o := range ocsp.Outcomes() {
		m.ocsp.WithLabelValues(string(o))
	}
	m.toolCalls.WithLabelValues(unknownTool, "", "not_found")
	for _, kind := range mcp.Kinds() {
		m.uses.WithLabelValues(string(kind), unknownTool, "", "not_found")
	}
	m.lastError.WithLabelValues("server")
	for _, factor := range []string{"certificate", "api_key", "jwt"} {
		m.decisionTime.WithLabelValues(factor)
	}
	for _, role := range []string{"server", "client"} {
		m.dropped.WithLabelValues(role)
	}
	for _, reason := range admission.Reasons() {
		m.dropReasons.WithLabelValues(string(reason))
	}
	for _, reason := range unread.Reasons() {
		m.answersCut.WithLabelValues(string(reason))
	}
	for _, result := range resolutionResults {
		m.resolutions.WithLabelValues(result)
	}
	for _, result := range []string{"ok", "error"} {
		m.certReloads.WithLabelValues(result)
		m.configReloads.WithLabelValues(result)
		m.renewals.WithLabelValues(result)
	}
}

// Handshake counts one that was done.
func (m *Metrics) Handshake(state *tls.ConnectionState) {
	m.handshakes.WithLabelValues("ok", versionLabel(state.Version), boolLabel(state.DidResume)).Inc()
	m.groups.WithLabelValues(state.CurveID.String()).Inc()
}

func versionLabel(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	}
	return "other"
}

// HandshakeRefused counts one that was not.
func (m *Metrics) HandshakeRefused(r pki.Reason) {
	m.handshakes.WithLabelValues(string(r), "", "false").Inc()
}

// Decision counts a final decision on a request and the time it took.
func (m *Metrics) Decision(d *auth.Decision, took time.Duration, request string) {
	m.decided.of(decisionLabels{string(d.Stage), string(d.Reason), TenantLabel(d)}).Inc()
	factor := "certificate"
	switch {
	case d.Principal.KeyID != "":
		factor = "api_key"
	case d.JWT:
		factor = "jwt"
	}
	m.timed.of(factor).observe(took, request)
}

// TenantLabel is the configured id: captured tenants fold into their rule.
func TenantLabel(d *auth.Decision) string {
	if d.Tenant == nil {
		return ""
	}
	return d.Tenant.ID
}

// CertificateReload counts a reload of certificate and trust bundle.
func (m *Metrics) CertificateReload(err error) { m.certReloads.WithLabelValues(result(err)).Inc() }

// ConfigReload counts a reload of the configuration.
func (m *Metrics) ConfigReload(err error) { m.configReloads.WithLabelValues(result(err)).Inc() }

// Renewal counts an attempt on the server certificate, or one on its CA's roots,
// which is told only where it failed.
func (m *Metrics) Renewal(e stepca.Event) {
	if e.Op == stepca.OpRoots {
		m.rootErrors.Inc()
		return
	}
	m.Update(e.Err)
}

// Update counts an attempt on the server certificate: ours, or one that came, or
// did not, from somebody who renews it for us.
func (m *Metrics) Update(err error) {
	m.renewals.WithLabelValues(result(err)).Inc()
	if err != nil {
		m.lastError.WithLabelValues("server").SetToCurrentTime()
	}
}

// NextRenewal is when the next attempt on the server certificate is planned; zero:
// others renew it.
func (m *Metrics) NextRenewal(at time.Time) {
	if at.IsZero() {
		m.nextRenewal.DeleteLabelValues("server")
		return
	}
	m.nextRenewal.WithLabelValues("server").Set(float64(at.Unix()))
}

// List counts a look at a revocation list. Names are those of the configuration.
func (m *Metrics) List(u revocation.Update) {
	m.lists.note(u.Name, func() { m.listUpdates.WithLabelValues(u.Name, string(u.Outcome)).Inc() })
}

// Revoked counts a refusal by what says that the certificate was revoked; other
// reasons it passes over. Names are those of the configuration.
func (m *Metrics) Revoked(r pki.Reason, name string) {
	if r == pki.Revoked || r == pki.CertRevoked {
		m.revokers.note(name, func() { m.revocations.WithLabelValues(name).Inc() })
	}
}

// ConnectionDropped counts a connection that was dropped or refused to keep others served.
func (m *Metrics) ConnectionDropped(r admission.Reason) {
	m.dropReasons.WithLabelValues(string(r)).Inc()
}

// AnswerCut counts an answer that was cut because its client does not read it.
func (m *Metrics) AnswerCut(r unread.Reason) { m.answersCut.WithLabelValues(string(r)).Inc() }

// Unread takes where the memory of answers is counted.
func (m *Metrics) Unread(b *unread.Budget) { m.unread.Store(b) }

// OCSP counts a question to a responder.
func (m *Metrics) OCSP(o ocsp.Outcome, _ error) { m.ocsp.WithLabelValues(string(o)).Inc() }

// KeySet counts a look at the keys of an issuer, by its configured name.
func (m *Metrics) KeySet(issuer string, err error) {
	m.issuers.note(issuer, func() { m.keySets.WithLabelValues(issuer, result(err)).Inc() })
}

// AnchorDropped counts certificates in use, of role server or client, whose CA
// left the trust bundle.
func (m *Metrics) AnchorDropped(role string, n int) {
	m.dropped.WithLabelValues(role).Add(float64(n))
}
