// Package revocation knows which certificates were taken back: by revocation
// lists of their issuers (CRLs, RFC 5280) and by a denylist of the operator's.
//
// [ParseCRL] and [ParseDenylist] read them once into compact tables; a [Source]
// keeps lists fresh from files and URLs; a [Set] is the immutable sum of all of
// them that a handshake and every request ask. A question costs no I/O and no
// allocation, whatever the number of entries. What an answer means where no
// current list is to be had is the [Mode] of the set.
//
// A Source keeps its lists on disk by issuer and scope, with the issuer's certificate.
// One is replaced by a newer one of the same issuer and scope only, and forgotten when
// nothing its issuer signed can be valid any more.
//
// A list counts for the certificates that the very key that signed it signed,
// under the same name. Delta, indirect and partial-reason lists, unknown
// critical extensions and SHA-1 signatures are refused, never half understood.
package revocation
