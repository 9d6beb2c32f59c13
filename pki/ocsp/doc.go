// Package ocsp knows the status of client certificates as their issuers'
// responders tell it (OCSP, RFC 6960).
//
// A [Cache] holds one [Entry] for each certificate in use. [Entry.Status] is a
// few atomic loads, without I/O and without allocation, for a handshake and
// for every request of an open connection. All fetching is done by [Cache.Run]:
// first look-ups, and refreshes of the answers in use before they end.
//
// What is held was signed by the key that signed the certificate, or by a
// responder that this key certified for it; it is about this very certificate;
// and it never goes back: a revocation is lifted by nothing but a newer answer,
// and stays when it is past its end.
//
// Refused, never half understood: answers that are not current, that another
// CA's responder signed, SHA-1 signatures, unknown critical extensions,
// redirects, and anything longer than [MaxAnswerBytes]. Only leaves are asked
// about; intermediates are for lists. Requests carry no nonce (RFC 9654):
// answers made beforehand are the rule, and an older one is not taken.
// Signatures are RSA PKCS #1 v1.5 and ECDSA, as golang.org/x/crypto/ocsp has
// them; not RSA-PSS, not Ed25519.
package ocsp
