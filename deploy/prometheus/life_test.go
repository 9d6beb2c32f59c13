package prometheus_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

const (
	anHour = 60 // minutes
	aDay   = 24 * anHour
	// restarted is how often a gate is; one of several comes back under another name.
	restarted = 3 * aDay
)

// A life says what a series shows at each minute, of a gate that is well: who calls by
// day and less at night, strangers at the door, certificates that are renewed, lists,
// keys, a restart each third day, a configuration each day.
type life struct {
	minutes int  // of it, a scrape in each
	spiffe  bool // clients have certificates of authorities
	r       *rand.Rand
	calls   func(minute int) float64
	fails   func(minute int) float64 // calls, by no fault of the caller's
	renewed func(minute int) int     // when the certificate in force was issued
}

// counter grows by what happens in a minute, and begins again at each restart.
func (l *life) counter(start float64, perMinute func(minute int) float64) (out []float64) {
	total := start
	for m := range l.minutes {
		if m > 0 && m%restarted == 0 {
			total = 0
		}
		for n := perMinute(m); n > 0; n-- {
			if n >= 1 || l.r.Float64() < n {
				total++
			}
		}
		out = append(out, total)
	}
	return out
}

func (l *life) gauge(at func(minute int) float64) (out []float64) {
	for m := range l.minutes {
		out = append(out, at(m))
	}
	return out
}

// byDay are the calls of a minute: forty at noon, a few at night.
func byDay(m int) float64 { return 22 - 18*math.Cos(2*math.Pi*float64(m)/aDay) }

func always(n float64) func(int) float64 { return func(int) float64 { return n } }

var never = always(0)

// each is what happens once in so many minutes.
func each(n int) func(int) float64 {
	return func(m int) float64 {
		if m%n == n/2 {
			return 1
		}
		return 0
	}
}

// A kept certificate is renewed when a third of its life is left.
type kept struct{ lives, age int } // in minutes; age is that at the beginning

func (k kept) renewed(m int) int {
	every := k.lives * 2 / 3
	return (m+k.age)/every*every - k.age
}

// upstreams' certificates, by the upstream's name.
var shown = map[string]kept{"five-minutes": {5, 0}, "forty-days": {40 * aDay, 22 * aDay}, "a-year": {365 * aDay, 240 * aDay}}

// authorities are those of SPIRE, by name: they last a day, and half a day before the
// end there is the next beside.
func authorities(minutes int) map[string]int {
	out := map[string]int{}
	for m := -aDay / 2; m < minutes; m += aDay / 2 {
		out[fmt.Sprint("spire", m)] = m
	}
	return out
}

// values returns those of a series of the scrape, NaN where it is not there; nil where
// the rules have no use for it.
func (l *life) values(name string, labels map[string]string) []float64 {
	switch name {
	case "up":
		return l.gauge(always(1))
	case "sangate_tls_handshakes_total":
		switch labels["result"] {
		case "ok":
			return l.counter(1, func(m int) float64 { return l.calls(m) / 5 })
		case "no_certificate", "protocol": // scanners
			return l.counter(0, func(m int) float64 { return 0.2 + 20*each(6*anHour)(m) })
		case "aborted": // a load balancer that looks whether there is anybody
			return l.counter(0, always(20))
		case "untrusted": // which stands for all that do not happen
			return l.counter(0, never)
		}
		return nil
	case "sangate_auth_decisions_total":
		switch {
		case labels["reason"] == "ok":
			return l.counter(3, l.calls)
		case labels["reason"] == "token_expired", labels["reason"] == "token_missing":
			return l.counter(0, func(m int) float64 { return l.calls(m) / 200 })
		case labels["stage"] == "agreement", labels["reason"] == "san_unmapped":
			return l.counter(0, never)
		}
		return nil
	case "sangate_tool_calls_total":
		switch labels["result"] {
		case "ok":
			return l.counter(1, l.calls)
		case "tool_error", "invalid_arguments", "not_found":
			return l.counter(0, func(m int) float64 { return l.calls(m) / 50 })
		}
		return l.counter(0, l.fails)
	case "sangate_certificate_not_before_timestamp_seconds", "sangate_certificate_not_after_timestamp_seconds":
		return l.certificate(strings.Contains(name, "not_after"), labels)
	case "sangate_certificate_renewals_total":
		if labels["result"] == "ok" {
			return l.counter(1, each(16*anHour))
		}
		return l.counter(0, each(4*aDay)) // the CA was restarted: one attempt
	case "sangate_certificate_reloads_total", "sangate_config_reloads_total":
		if labels["result"] == "ok" {
			return l.counter(0, each(aDay))
		}
		return l.counter(0, each(2*aDay)) // a file was read half written
	case "sangate_crl_next_update_timestamp_seconds":
		return l.gauge(func(m int) float64 { return float64((m/(12*anHour))*12*anHour+aDay) * 60 })
	case "sangate_crl_updates_total":
		switch labels["result"] {
		case "ok":
			return l.counter(1, each(12*anHour))
		case "unchanged":
			return l.counter(0, each(anHour))
		case "error":
			return l.counter(0, each(5*anHour))
		}
		return l.counter(0, never)
	case "sangate_ocsp_answers_total":
		switch labels["result"] {
		case "good":
			return l.counter(0, func(m int) float64 { return l.calls(m) / 50 })
		case "error", "refused":
			return l.counter(0, each(2*anHour))
		}
		return l.counter(0, never)
	case "sangate_jwks_last_success_timestamp_seconds":
		if labels["issuer"] == "file" { // which is read at the start
			return l.gauge(func(m int) float64 { return float64(m/restarted*restarted*60) + 1 })
		}
		return l.gauge(func(m int) float64 { return float64(m/anHour*anHour*60) + 1 })
	case "sangate_jwks_refreshes_total":
		switch {
		case labels["issuer"] == "file":
			return l.counter(0, never)
		case labels["result"] == "ok":
			return l.counter(1, each(anHour))
		}
		return l.counter(0, each(7*anHour))
	case "sangate_upstream_up":
		return l.gauge(func(m int) float64 { return 1 - each(2*aDay)(m) }) // it was restarted
	case "sangate_credential_resolutions_total":
		if labels["result"] == "ok" {
			return l.counter(1, l.calls)
		}
		return l.counter(0, each(aDay))
	case "sangate_state_behind", "sangate_state_mark_stale":
		return l.gauge(never)
	case "sangate_ca_roots_errors_total", "sangate_trust_anchors_dropped_total", "sangate_audit_errors_total":
		return l.counter(0, never)
	}
	return nil
}

// certificate returns the begin, or the end, of one.
func (l *life) certificate(end bool, labels map[string]string) []float64 {
	issued, lives := l.renewed, aDay
	if k, ok := shown[labels["name"]]; ok {
		issued, lives = k.renewed, k.lives
	}
	there := func(int) bool { return true }
	switch begins, ok := authorities(10 * aDay)[labels["name"]]; {
	case ok && !l.spiffe:
		return nil
	case ok:
		issued = func(int) int { return begins }
		there = func(m int) bool { return m >= begins && m <= begins+lives }
	case labels["role"] == "client_ca":
		issued, lives = func(int) int { return -300 * aDay }, 3650*aDay
	}
	return l.gauge(func(m int) float64 {
		switch {
		case !there(m):
			return math.NaN()
		case end:
			return float64(60 * (issued(m) + lives))
		}
		return float64(60 * issued(m))
	})
}
