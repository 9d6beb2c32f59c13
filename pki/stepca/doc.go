// Package stepca gets certificates from a step-ca authority and keeps them
// alive: enrol, renew, rekey, revoke, and a [Renewer] over the files they are
// kept in.
//
// A [Client] trusts one root, given as a file or by its SHA-256 fingerprint,
// and nothing else; the system pool is never consulted. Keys are made here and
// never leave. No certificate is returned before it was vetted: our key, our
// names, a chain to our root, dates that hold now.
//
// Every call to the authority ends by a deadline, its answer is bounded, and a
// redirect is refused. The package does not watch files and serves no TLS: that
// is package pki's.
package stepca
