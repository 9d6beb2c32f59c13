// Package stepca gets certificates from a step-ca authority and keeps them
// alive: enrol, renew, rekey, revoke. A [Manager] does all of it for one
// certificate; a [Renewer] over a [Store] does the renewing alone.
//
// A [Client] trusts one root, given as a file or by its SHA-256 fingerprint,
// and what the authority, so proved, names as its further roots; the system
// pool is never consulted. Keys are made here, or in a KMS, and never leave. No
// certificate is returned before it was vetted: our key, our names, a chain to
// our root, dates that hold now.
//
// What is held is on disk in a [Folder], where a crash leaves the old pair or
// the new one. The first certificate comes by an [Enroller]: a [OneTimeToken],
// the [Password] of a provisioner, another certificate ([X5C]) or [ACME].
//
// Every call to the authority ends by a deadline, its answer is bounded, and a
// redirect is refused. The package does not watch files and serves no TLS: that
// is package pki's.
package stepca
