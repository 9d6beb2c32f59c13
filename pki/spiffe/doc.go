// Package spiffe gets the gate's certificate, and the roots its clients are
// verified against, from a SPIFFE agent over the Workload API. A [Source] does
// for an agent what stepca.Manager does for a step-ca authority.
//
// Its one invariant: certificate and bundles in force come whole from one update
// that was vetted: a well-formed X.509-SVID, its own key, dates that hold now, a
// chain to the bundle of its own trust domain that came with it. An update that
// fails is logged, told and dropped, and what was in force stays so until it
// ends, as it does while the agent is gone or denies us an identity. In the last
// two the standard would have clients stop at once (Workload API, 5.2.1, SHOULD);
// an agent whose view of this process flickers would then take the gate down.
//
// It refuses to change trust domain, to run without the bundle of its own, and
// to trust a domain that was not named in [Options]. It never consults the
// system pool, and neither writes nor logs a key: those come from the agent and
// stay in memory.
//
// A trust domain's authorities vouch for that domain alone (Workload API, 4.6):
// who verifies peers takes the bundle of the domain in the peer's SPIFFE ID, and
// never one pool of all of them.
package spiffe
