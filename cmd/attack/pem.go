package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"sync"
)

// attributesCertificate is one whose subject has 14,000 attributes.
var attributesCertificate = sync.OnceValue(func() []byte {
	cert, err := stranger(func(c *x509.Certificate) { c.RawSubject = attributes(14_000, "a", false) })
	if err != nil {
		panic(err) // nothing of it depends on anything
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
})

// pemBody is a call with one certificate, over and over, up to size.
func pemBody(one []byte, size int) string {
	text := string(bytes.Repeat(one, max(1, size*9/10/len(one))))
	body, err := json.Marshal(map[string]any{"arguments": map[string]string{"pem": text}})
	if err != nil {
		panic(err) // a string can be marshalled
	}
	return string(body)
}
