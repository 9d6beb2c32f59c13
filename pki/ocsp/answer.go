package ocsp

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/fips140"
	_ "crypto/sha1" // the hashes of identifiers
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// How answers and clocks may differ.
const (
	skew = time.Minute     // of a responder's clock that is ahead
	live = 5 * time.Minute // that an answer without a next update is good for
)

// An answer is one that may be believed.
type answer struct {
	status     Status
	thisUpdate time.Time
	until      time.Time // good until then, and no longer
	revokedAt  time.Time
	reason     int
}

// errNoAnswer is wrapped by what a responder says in place of an answer.
var errNoAnswer = errors.New("the OCSP responder gave no answer")

// A question is a certificate to be asked about.
type question struct {
	serial *big.Int
	issuer *x509.Certificate
}

// read checks an answer (RFC 6960, 3.2). golang.org/x/crypto/ocsp reads the
// envelope and checks that the signature is that of the certificate enclosed,
// if any. It takes any certificate of the issuer for a responder's, SHA-1, the
// first entry with the serial number whosever it is, any dates, and leaves out
// the extensions; so all of that is looked at here.
func (o *Options) read(der []byte, q question, now time.Time) (*answer, error) {
	if err := checkAlgorithm(der); err != nil {
		return nil, err
	}
	resp, err := ocsp.ParseResponseForCert(der, &x509.Certificate{SerialNumber: q.serial}, nil)
	if err != nil {
		if refusal, ok := errors.AsType[ocsp.ResponseError](err); ok {
			return nil, fmt.Errorf("%w: %s", errNoAnswer, refusal.Status)
		}
		return nil, fmt.Errorf("not an OCSP answer about this certificate: %q", clip(err.Error()))
	}
	end, err := o.checkSigner(resp, q.issuer, now)
	if err != nil {
		return nil, err
	}
	data, single, err := find(resp.TBSResponseData, q)
	if err != nil {
		return nil, err
	}
	a := &answer{thisUpdate: single.ThisUpdate}
	if a.until, err = current(data.ProducedAt, single.ThisUpdate, single.NextUpdate, now); err != nil {
		return nil, err
	}
	if !end.IsZero() && end.Before(a.until) {
		a.until = end
	}
	return a, a.readStatus(single.Status)
}

// current says until when an answer with these dates is good.
func current(produced, this, next, now time.Time) (until time.Time, err error) {
	switch soon := now.Add(skew); {
	case this.After(soon), produced.After(soon):
		return until, fmt.Errorf("the OCSP answer is from the future, %s: is a clock wrong?", stamp(later(this, produced)))
	case next.IsZero():
		// Newer is always to be had (4.2.2.1), so it must have been made just
		// now: without that, it could be played back for ever.
		if until = earlier(produced, now).Add(live); now.After(until) {
			return until, fmt.Errorf("the OCSP answer has no next update and was made at %s", stamp(produced))
		}
		return until, nil
	case next.Before(this):
		return until, errors.New("the OCSP answer ends before it begins")
	case now.After(next):
		return until, fmt.Errorf("the OCSP answer ended at %s", stamp(next))
	}
	return next, nil
}

// What is signed (RFC 6960, 4.2.1).
type responseData struct {
	Version    int `asn1:"optional,default:0,explicit,tag:0"`
	Responder  asn1.RawValue
	ProducedAt time.Time `asn1:"generalized"`
	Responses  []singleResponse
	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type singleResponse struct {
	ID         certID
	Status     asn1.RawValue
	ThisUpdate time.Time        `asn1:"generalized"`
	NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type certID struct {
	Hash     pkix.AlgorithmIdentifier
	NameHash []byte
	KeyHash  []byte
	Serial   *big.Int
}

type revokedInfo struct {
	At     time.Time       `asn1:"generalized"`
	Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
}

// find returns the one entry about q of signed data.
func find(der []byte, q question) (*responseData, *singleResponse, error) {
	var data responseData
	if rest, err := asn1.Unmarshal(der, &data); err != nil || len(rest) > 0 {
		return nil, nil, errors.New("the OCSP answer is not well formed")
	}
	if data.Version != 0 {
		return nil, nil, fmt.Errorf("the OCSP answer is of an unknown version, %d", data.Version+1)
	}
	var found *singleResponse
	for i := range data.Responses {
		single := &data.Responses[i]
		if single.ID.Serial == nil || single.ID.Serial.Cmp(q.serial) != 0 || !single.ID.names(q.issuer) {
			continue
		}
		if found != nil {
			return nil, nil, errors.New("the OCSP answer speaks of the certificate twice")
		}
		found = single
	}
	if found == nil {
		return nil, nil, errors.New("the OCSP answer is about another issuer's certificate")
	}
	critical := func(e pkix.Extension) bool { return e.Critical }
	if slices.ContainsFunc(data.Extensions, critical) || slices.ContainsFunc(found.Extensions, critical) {
		return nil, nil, errors.New("the OCSP answer has an unknown critical extension")
	}
	return &data, found, nil
}

// hashOf returns the hash function of an identifier, 0 where it is unknown.
func hashOf(oid asn1.ObjectIdentifier) crypto.Hash {
	switch oid.String() {
	case "1.3.14.3.2.26":
		if fips140.Enforced() { // where it panics
			return 0
		}
		return crypto.SHA1
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512
	}
	return 0
}

// names tells whether id is that of a certificate of issuer.
func (id *certID) names(issuer *x509.Certificate) bool {
	hash := hashOf(id.Hash.Algorithm)
	if hash == 0 || !hash.Available() {
		return false
	}
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &key); err != nil {
		return false
	}
	sum := func(data []byte) []byte {
		h := hash.New()
		h.Write(data)
		return h.Sum(nil)
	}
	return bytes.Equal(id.NameHash, sum(issuer.RawSubject)) && bytes.Equal(id.KeyHash, sum(key.Key.RightAlign()))
}

// readStatus reads a CertStatus, which is one of three.
func (a *answer) readStatus(raw asn1.RawValue) error {
	if raw.Class != asn1.ClassContextSpecific {
		return errors.New("the OCSP answer has no status")
	}
	switch raw.Tag {
	case 0:
		a.status = Good
	case 1:
		var info revokedInfo
		if rest, err := asn1.UnmarshalWithParams(raw.FullBytes, &info, "tag:1"); err != nil || len(rest) > 0 {
			return errors.New("the OCSP answer has a revocation that is not well formed")
		}
		a.status, a.revokedAt, a.reason = Revoked, info.At, int(info.Reason)
	case 2:
		a.status = Unknown
	default:
		return errors.New("the OCSP answer has an unknown status")
	}
	return nil
}

func (a *answer) outcome() Outcome {
	return [...]Outcome{AnsweredUnknown, AnsweredGood, AnsweredRevoked}[a.status]
}

var reasonNames = [...]string{1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded",
	5: "cessationOfOperation", 6: "certificateHold", 9: "privilegeWithdrawn", 10: "aACompromise"}

func reasonName(code int) string {
	if code >= 0 && code < len(reasonNames) {
		return cmp.Or(reasonNames[code], "unspecified")
	}
	return fmt.Sprintf("reason %d", code)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
