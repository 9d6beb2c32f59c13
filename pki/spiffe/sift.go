package spiffe

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"google.golang.org/grpc"

	"github.com/sangate/sangate/pki"
)

const (
	maxAuthority = 16 << 10 // bytes of one certificate of a bundle
	maxLeftOut   = 20       // reasons that are told of one update
)

// sifting is a stream of updates without what is of no use. go-spiffe refuses an update
// whole where one certificate in it cannot be read, so that a partner could keep our
// own renewal and a retired root of ours in force.
type sifting struct {
	grpc.ClientStream
	source *Source
}

// siftStreams makes every stream of a connection one of those.
func (s *Source) siftStreams(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &sifting{stream, s}, nil
}

func (s *sifting) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if update, ok := m.(*workload.X509SVIDResponse); ok && err == nil {
		s.source.sifted = s.source.sift(update)
	}
	return err
}

// sift leaves out of an update what is not asked for, and what is no use: certificates
// of bundles that are no CA's or too large, bundles of partners without one that is left
// or with too many, and SVIDs that are not ours to take and cannot be read. It returns why.
func (s *Source) sift(update *workload.X509SVIDResponse) (left leftOut) {
	var svids []*workload.X509SVID
	for i, svid := range update.Svids {
		if !s.mayChoose(i, svid) {
			if err := readable(svid); err != nil {
				left.add("an identity that this gate does not take", err.Error())
				continue
			}
		}
		svid.Bundle = left.bundle(svid.SpiffeId, svid.Bundle)
		svids = append(svids, svid)
	}
	update.Svids = svids
	federated := make(map[string][]byte)
	for name, bundle := range update.FederatedBundles {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil || !slices.Contains(s.federated, td) {
			continue
		}
		if good := left.bundle(td.Name(), bundle); len(good) > 0 {
			federated[td.IDString()] = append(federated[td.IDString()], good...)
		}
	}
	for name, bundle := range federated {
		if n := countCertificates(bundle); n > maxAuthorities {
			left.add(name, fmt.Sprintf("the whole bundle: %d certificates, at most %d are taken", n, maxAuthorities))
			delete(federated, name)
		}
	}
	update.FederatedBundles = federated
	slices.Sort(left)
	return left
}

// mayChoose reports whether the SVID at that place of an update is one that choose may take.
func (s *Source) mayChoose(place int, svid *workload.X509SVID) bool {
	switch {
	case !s.id.IsZero():
		return svid.SpiffeId == s.id.String()
	case s.opts.Hint != "":
		return svid.Hint == s.opts.Hint
	}
	return place == 0
}

// readable reports why go-spiffe would refuse an update for an SVID.
func readable(svid *workload.X509SVID) error {
	if _, err := spiffeid.FromString(svid.SpiffeId); err != nil {
		return err
	}
	_, err := x509svid.ParseRaw(svid.X509Svid, svid.X509SvidKey)
	return err
}

// A leftOut says what of an update was left out, and why; at most maxLeftOut reasons.
type leftOut []string

func (l *leftOut) add(of, why string) {
	if len(*l) < maxLeftOut {
		*l = append(*l, pki.Cut(of, 300)+": "+pki.Cut(why, 300))
	}
}

// bundle returns those certificates of a bundle (DER, one after the other) that are a CA's.
func (l *leftOut) bundle(of string, der []byte) (good []byte) {
	rest := cryptobyte.String(der)
	for !rest.Empty() {
		var one cryptobyte.String
		if !rest.ReadASN1Element(&one, asn1.SEQUENCE) {
			l.add(of, fmt.Sprintf("the last %d bytes of the bundle are no certificate", len(rest)))
			return good
		}
		if why := noAuthority(one); why != "" {
			l.add(of, why)
			continue
		}
		good = append(good, one...)
	}
	return good
}

// noAuthority says why a certificate cannot be an authority's; "": it can.
func noAuthority(der []byte) string {
	if len(der) > maxAuthority {
		return fmt.Sprintf("a certificate of %d bytes, at most %d are taken", len(der), maxAuthority)
	}
	c, err := x509.ParseCertificate(der)
	switch {
	case err != nil:
		return "a certificate that cannot be read: " + err.Error()
	case !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Sprintf("%q is not a CA's certificate", pki.NameText(c.Subject))
	}
	return ""
}

func countCertificates(der []byte) (n int) {
	for rest := cryptobyte.String(der); rest.SkipASN1(asn1.SEQUENCE); {
		n++
	}
	return n
}
