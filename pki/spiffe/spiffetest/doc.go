// Package spiffetest is a SPIFFE agent for tests, of this project and of its
// users: a real gRPC server on a socket of its own that speaks the Workload API's
// X.509 part (FetchX509SVID), with its authorities made in memory.
//
// Like SPIRE's it refuses a call without the header workload.spiffe.io, gives
// every new stream the state of things at once, and PermissionDenied while there
// is no identity. Unlike SPIRE's it knows its callers by nothing: whoever
// reaches it gets what the test last pushed, however wrong that is.
package spiffetest
