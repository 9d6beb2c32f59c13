package main

// Keys in PKCS #11 modules, in a build with cgo; without, the error says so.
// Cloud key services are left out: each brings its vendor's SDK.
import _ "go.step.sm/crypto/kms/pkcs11"
