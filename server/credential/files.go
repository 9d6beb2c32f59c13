package credential

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/sangate/sangate/pki/regularfile"
)

// Files resolves from a folder that is read at each look-up, such as a mounted
// Kubernetes secret: DIR/55 or DIR/name, DIR/tenant/name for one tenant's. A file
// holds an ApiKey, or {"type","value"[,"header"]} of another kind.
type Files struct{ Dir string }

// Resolve reads a file. What leads out of the folder is not followed.
func (f Files) Resolve(_ context.Context, ref Ref) (*Secret, error) {
	name := ref.Name
	if ref.ID != 0 {
		name = strconv.FormatInt(ref.ID, 10)
	} else if err := checkName(ref.Name, ref.Tenant); err != nil {
		return nil, fmt.Errorf("%s: %w", ref, ErrCredentialNotFound)
	}
	if ref.ID == 0 && ref.Tenant != "" {
		name = filepath.Join(ref.Tenant, name)
	}
	data, err := f.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: there is no file %s", ref, ErrCredentialNotFound, filepath.Join(f.Dir, name))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ref, ErrUnavailable, err)
	}
	s := &Secret{ID: ref.ID, Tenant: ref.Tenant, Name: ref.Name, Type: APIKey, Value: strings.TrimRight(string(data), "\r\n")}
	if ref.ID != 0 {
		s.Tenant = ""
	}
	if strings.HasPrefix(s.Value, "{") {
		var typed struct {
			Type   Type   `json:"type"`
			Value  string `json:"value"`
			Header string `json:"header"`
			Tenant string `json:"tenantId"`
		}
		if err := jsonv2.Unmarshal(data, &typed, jsonv2.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf(`%s: %s begins with '{' and is not {"type","value"[,"header","tenantId"]}`, ref, filepath.Join(f.Dir, name))
		}
		if typed.Tenant != "" && ref.ID != 0 {
			s.Tenant = typed.Tenant
		}
		s.Type, s.Value, s.Header = typed.Type, typed.Value, typed.Header
	}
	if err := s.checkValue(); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", ref, filepath.Join(f.Dir, name), err)
	}
	return s, nil
}

func (f Files) read(name string) (data []byte, err error) {
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	data, err = regularfile.ReadIn(root, name, 2*maxValue)
	if errors.Is(err, regularfile.ErrNotRegular) {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return data, err
}

// A Chain asks one resolver after the other; the first that knows the credential
// counts.
type Chain []Resolver

// Resolve asks them. It says that there is none only where each has said so.
func (c Chain) Resolve(ctx context.Context, ref Ref) (*Secret, error) {
	for _, r := range c {
		s, err := r.Resolve(ctx, ref)
		if !errors.Is(err, ErrCredentialNotFound) {
			return s, err
		}
	}
	return nil, fmt.Errorf("%s: %w", ref, ErrCredentialNotFound)
}
