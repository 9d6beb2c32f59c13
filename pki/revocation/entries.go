package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Extensions of an entry, as the DER of their identifiers (RFC 5280, 5.3).
const (
	extReason         = "\x55\x1d\x15"
	extHold           = "\x55\x1d\x17"
	extInvalidity     = "\x55\x1d\x18"
	extCertIssuer     = "\x55\x1d\x1d"
	reasonRemove      = 8 // removeFromCRL, of delta lists
	maxReasonAccepted = 127
)

// readEntries reads revokedCertificates in two rounds, to make room for just as
// many as there are. They may come in any order, and twice.
func readEntries(list cryptobyte.String) (table[serial, revoked], error) {
	var none table[serial, revoked]
	count := 0
	for rest := list; !rest.Empty(); count++ {
		if !rest.SkipASN1(asn1.SEQUENCE) {
			return none, errors.New("crl: malformed entry")
		}
		if count == MaxCRLEntries {
			return none, fmt.Errorf("crl: more than %d entries", MaxCRLEntries)
		}
	}
	records := make([]record[serial, revoked], count)
	for i := range records {
		var entry cryptobyte.String
		if !list.ReadASN1(&entry, asn1.SEQUENCE) {
			return none, errors.New("crl: malformed entry")
		}
		if err := readEntry(entry, &records[i]); err != nil {
			return none, fmt.Errorf("crl: entry %d: %w", i+1, err)
		}
	}
	return newTable(records), nil
}

func readEntry(entry cryptobyte.String, r *record[serial, revoked]) error {
	var number, at, extensions cryptobyte.String
	var tag asn1.Tag
	var present bool
	if !entry.ReadASN1(&number, asn1.INTEGER) || len(number) == 0 {
		return errors.New("malformed serial number")
	}
	switch {
	case number[0]&0x80 != 0:
		return errors.New("negative serial number")
	case number[0] == 0 && len(number) > 1:
		if number[1]&0x80 == 0 {
			return errors.New("malformed serial number")
		}
		number = number[1:]
	}
	if len(number) > maxSerial {
		return fmt.Errorf("serial number of %d bytes", len(number))
	}
	copy(r.key[maxSerial-len(number):], number)
	if !entry.ReadAnyASN1(&at, &tag) {
		return errors.New("malformed revocation date")
	}
	seconds, ok := unixTime(tag, at)
	if !ok {
		return errors.New("malformed revocation date")
	}
	r.value.at = uint32(min(max(seconds, 0), math.MaxUint32))
	if !entry.ReadOptionalASN1(&extensions, &present, asn1.SEQUENCE) || !entry.Empty() {
		return errors.New("malformed")
	}
	return readEntryExtensions(extensions, &r.value)
}

func readEntryExtensions(extensions cryptobyte.String, r *revoked) error {
	reasons := 0
	for !extensions.Empty() {
		var ext, id, value cryptobyte.String
		critical := false
		if !extensions.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1(&id, asn1.OBJECT_IDENTIFIER) ||
			ext.PeekASN1Tag(asn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() {
			return errors.New("malformed extension")
		}
		switch string(id) {
		case extReason:
			var code cryptobyte.String
			if reasons++; reasons > 1 || !value.ReadASN1(&code, asn1.ENUM) || !value.Empty() ||
				len(code) != 1 || code[0] > maxReasonAccepted {
				return errors.New("malformed reason")
			}
			if r.reason = code[0]; r.reason == reasonRemove {
				return errors.New("reason removeFromCRL, which belongs into a delta list only")
			}
		case extHold, extInvalidity:
		case extCertIssuer:
			return fmt.Errorf("%w: it names another issuer", ErrUnsupported)
		default:
			if critical {
				return fmt.Errorf("%w: critical extension %x", ErrUnsupported, []byte(id))
			}
		}
	}
	return nil
}

// unixTime reads a UTCTime or GeneralizedTime in the one form RFC 5280, 4.1.2.5
// allows. The time package would allocate, a million times.
func unixTime(tag asn1.Tag, value []byte) (int64, bool) {
	var century int
	switch {
	case tag == asn1.UTCTime && len(value) == len("YYMMDDHHMMSSZ"):
	case tag == asn1.GeneralizedTime && len(value) == len("YYYYMMDDHHMMSSZ"):
		if !digits(value[:2]) {
			return 0, false
		}
		century, value = 100*pair(value), value[2:]
	default:
		return 0, false
	}
	if !digits(value[:12]) || value[12] != 'Z' {
		return 0, false
	}
	year := century + pair(value)
	if tag == asn1.UTCTime {
		if year += 1900; year < 1950 {
			year += 100
		}
	}
	month, day := pair(value[2:]), pair(value[4:])
	hour, minute, second := pair(value[6:]), pair(value[8:]), pair(value[10:])
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	ok := month >= 1 && month <= 12 && t.Day() == day && day >= 1 && hour < 24 && minute < 60 && second < 60
	return t.Unix(), ok
}

func pair(b []byte) int { return 10*int(b[0]-'0') + int(b[1]-'0') }

func digits(b []byte) bool {
	return bytes.IndexFunc(b, func(r rune) bool { return r < '0' || r > '9' }) < 0
}
