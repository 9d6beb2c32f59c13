package devca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.step.sm/crypto/jose"
	"go.step.sm/crypto/keyutil"
	"go.step.sm/crypto/pemutil"
	"go.step.sm/crypto/x509util"

	"github.com/sangate/sangate/pki/regularfile"
	"github.com/sangate/sangate/pki/stepca/atomicfile"
)

// What is in the folder. complete is written last: without it, what is there
// is of an Open that was cut off, of which nothing was ever shown to anyone.
const (
	rootFile         = "root_ca.crt"
	rootKeyFile      = "root_ca.key"
	intermediateFile = "intermediate_ca.crt"
	interKeyFile     = "intermediate_ca.key"
	provisionerFile  = "provisioner.json"
	databaseFile     = "db"
	completeFile     = "complete"
)

const caLifetime = 10 * 365 * 24 * time.Hour

// A pki is the key material of a CA.
type pki struct {
	root, intermediate *x509.Certificate
	signer             crypto.Signer    // of the intermediate
	provisioner        *jose.JSONWebKey // private
}

// openPKI loads the key material in dir, after making it if there is none.
func openPKI(dir string, now time.Time) (*pki, error) {
	_, err := os.Stat(filepath.Join(dir, completeFile))
	if errors.Is(err, fs.ErrNotExist) {
		if err = createPKI(dir, now); err != nil {
			return nil, fmt.Errorf("create the CA in %s: %w", dir, err)
		}
	}
	if err != nil {
		return nil, err
	}
	p, err := loadPKI(dir)
	if err != nil {
		return nil, fmt.Errorf("the CA in %s: %w; mend it or remove the folder to get a new CA", dir, err)
	}
	for _, crt := range []*x509.Certificate{p.root, p.intermediate} {
		if now.After(crt.NotAfter) {
			return nil, fmt.Errorf("the CA in %s: %q expired on %s; remove the folder to get a new CA", dir, crt.Subject.CommonName, crt.NotAfter.Format(time.DateOnly))
		}
	}
	return p, nil
}

func loadPKI(dir string) (*pki, error) {
	var p pki
	var err error
	if p.root, err = readCertificate(filepath.Join(dir, rootFile)); err != nil {
		return nil, err
	}
	if p.intermediate, err = readCertificate(filepath.Join(dir, intermediateFile)); err != nil {
		return nil, err
	}
	data, err := regularfile.Read(filepath.Join(dir, interKeyFile), maxFile)
	if err != nil {
		return nil, err
	}
	// Without a password option pemutil would ask at the terminal.
	key, err := pemutil.Parse(data, pemutil.WithPassword(nil))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", interKeyFile, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok || !keyutil.Equal(signer.Public(), p.intermediate.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", interKeyFile, intermediateFile)
	}
	p.signer = signer
	if err := p.intermediate.CheckSignatureFrom(p.root); err != nil {
		return nil, fmt.Errorf("%s is not signed by %s: %w", intermediateFile, rootFile, err)
	}
	if data, err = regularfile.Read(filepath.Join(dir, provisionerFile), maxFile); err != nil {
		return nil, err
	}
	p.provisioner = new(jose.JSONWebKey)
	if err := json.Unmarshal(data, p.provisioner); err != nil || !p.provisioner.Valid() || p.provisioner.IsPublic() {
		return nil, fmt.Errorf("%s is not a private JSON Web Key", provisionerFile)
	}
	return &p, nil
}

const maxFile = 1 << 20 // bytes of a file of the CA

func readCertificate(name string) (*x509.Certificate, error) {
	data, err := regularfile.Read(name, maxFile)
	if err != nil {
		return nil, err
	}
	crt, err := pemutil.ParseCertificate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return crt, nil
}

// createPKI makes and writes root, intermediate and provisioner key.
func createPKI(dir string, now time.Time) error {
	root, rootKey, err := issueCA("sangate dev Root CA", x509util.DefaultRootTemplate, nil, nil, now)
	if err != nil {
		return err
	}
	inter, interKey, err := issueCA("sangate dev Intermediate CA", x509util.DefaultIntermediateTemplate, root, rootKey, now)
	if err != nil {
		return err
	}
	jwk, err := jose.GenerateJWK("EC", "P-256", "ES256", "sig", "", 0)
	if err != nil {
		return err
	}
	if jwk.KeyID, err = jose.Thumbprint(jwk); err != nil {
		return err
	}
	provisioner, err := json.Marshal(jwk)
	if err != nil {
		return err
	}
	var files []atomicfile.File
	add := func(name string, data []byte) {
		files = append(files, atomicfile.File{Name: filepath.Join(dir, name), Data: data, Perm: 0o600})
	}
	for name, v := range map[string]any{rootFile: root, rootKeyFile: rootKey, intermediateFile: inter, interKeyFile: interKey} {
		block, err := pemutil.Serialize(v, pemutil.WithPKCS8(true))
		if err != nil {
			return err
		}
		add(name, pem.EncodeToMemory(block))
	}
	add(provisionerFile, provisioner)
	add(completeFile, bytes.NewBufferString(now.UTC().Format(time.RFC3339)+"\n").Bytes())
	return atomicfile.Replace(files...)
}

// issueCA makes a key and a CA certificate for it, self-signed where parent is
// nil. minica would do, but its CAs end after a day.
func issueCA(name, template string, parent *x509.Certificate, parentKey crypto.Signer, now time.Time) (*x509.Certificate, crypto.Signer, error) {
	key, err := keyutil.GenerateDefaultSigner()
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509util.CreateCertificateRequest(name, nil, key)
	if err != nil {
		return nil, nil, err
	}
	crt, err := x509util.NewCertificate(csr, x509util.WithTemplate(template, x509util.CreateTemplateData(name, nil)))
	if err != nil {
		return nil, nil, err
	}
	t := crt.GetCertificate()
	t.NotBefore, t.NotAfter = now.Add(-time.Hour), now.Add(caLifetime)
	if parent == nil {
		parent, parentKey = t, key
	}
	signed, err := x509util.CreateCertificate(t, parent, key.Public(), parentKey)
	return signed, key, err
}
