// Package pki holds the X.509 side of sangate: what the gate shows, whom it
// trusts, and what a client's certificate says.
//
// A [Source] publishes one immutable [Snapshot] at a time: the gate's own leaf
// and the trust bundle for clients. A handshake reads exactly one, so leaf and
// roots never mix across a rotation. A [Watcher] tells when files changed; a
// change that does not load leaves the last good snapshot in force.
//
// A [Peer] is the client end of one connection. Its chain and names are parsed
// once; [Peer.Check] then answers, for any later moment and any later snapshot,
// whether that certificate would still be let in. A handshake proves nothing
// about now.
//
// Roots are always explicit: the system pool is never consulted. The common
// name is never read.
package pki
