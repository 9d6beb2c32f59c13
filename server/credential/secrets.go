package credential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sangate/sangate/server/store"
)

// An Info is what is told of a credential: all but its value.
type Info struct {
	ID          int64     `json:"credentialId"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Type        Type      `json:"type"`
	Header      string    `json:"header,omitzero"`
	Tenant      string    `json:"tenantId,omitzero"`
	Version     int64     `json:"version"`
	CreatedAt   time.Time `json:"createdAt"`
	CreatedBy   string    `json:"createdBy"`
	UpdatedAt   time.Time `json:"updatedAt"`
}

func infoOf(c *store.Credential) Info {
	return Info{ID: c.ID, Name: c.Name, Description: c.Description, Type: Type(c.Type), Header: c.Header, Tenant: c.Tenant,
		Version: c.Version, CreatedAt: c.CreatedAt, CreatedBy: c.CreatedBy, UpdatedAt: c.UpdatedAt}
}

// Add keeps a new secret, of which ID and Version are not looked at. It returns
// store.ErrExists and store.ErrFull; any other error that is not the store's is
// of [Secret.Check].
func (v *Vault) Add(ctx context.Context, s *Secret, description, by string) (Info, error) {
	if err := s.Check(); err != nil {
		return Info{}, &InvalidError{err}
	}
	if len(description) > maxText {
		return Info{}, &InvalidError{fmt.Errorf("the description is longer than %d bytes", maxText)}
	}
	row := store.Credential{Tenant: s.Tenant, Name: s.Name, Description: description, Type: string(s.Type), Header: s.Header, CreatedBy: by}
	var kept store.Credential
	err := v.again(ctx, func(k *keys) (err error) {
		kept, err = v.store.AddCredential(ctx, row, k.generation, func(c store.Credential) ([]byte, error) {
			return k.aead.Encrypt([]byte(s.Value), associated(k.form, &c))
		})
		return err
	})
	if err != nil {
		return Info{}, err
	}
	return infoOf(&kept), nil
}

// Update seals another value, where the credential is at the expected version; 0
// is any. It returns [ErrCredentialNotFound] and store.ErrVersion.
func (v *Vault) Update(ctx context.Context, id int64, value string, expected int64) (Info, error) {
	var kept store.Credential
	err := v.again(ctx, func(k *keys) (err error) {
		kept, err = v.store.UpdateCredential(ctx, id, expected, k.generation, func(c store.Credential) ([]byte, error) {
			s := &Secret{Name: c.Name, Tenant: c.Tenant, Type: Type(c.Type), Header: c.Header, Value: value}
			if err := s.checkValue(); err != nil {
				return nil, &InvalidError{err}
			}
			return k.aead.Encrypt([]byte(value), associated(k.form, &c))
		})
		return err
	})
	if err != nil {
		return Info{}, notFound(err, Ref{ID: id})
	}
	return infoOf(&kept), nil
}

// Delete takes a credential out, where it is at the expected version; 0 is any.
// It returns [ErrCredentialNotFound] and store.ErrVersion.
func (v *Vault) Delete(ctx context.Context, id, expected int64) (Info, error) {
	c, err := v.store.DeleteCredential(ctx, id, expected)
	if err != nil {
		return Info{}, notFound(err, Ref{ID: id})
	}
	return infoOf(&c), nil
}

// List returns all, by id.
func (v *Vault) List(ctx context.Context) ([]Info, error) {
	rows, err := v.store.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Info, len(rows))
	for i := range rows {
		list[i] = infoOf(&rows[i])
	}
	return list, nil
}

// Info returns one, or [ErrCredentialNotFound].
func (v *Vault) Info(ctx context.Context, id int64) (Info, error) {
	c, _, err := v.store.Credential(ctx, id)
	if err != nil {
		return Info{}, notFound(err, Ref{ID: id})
	}
	return infoOf(&c), nil
}

// Resolve opens a secret.
func (v *Vault) Resolve(ctx context.Context, ref Ref) (*Secret, error) {
	for range 3 {
		s, err := v.resolve(ctx, ref)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, store.ErrGeneration): // read again
		case errors.Is(err, store.ErrNotFound):
			return nil, notFound(err, ref)
		default:
			return nil, fmt.Errorf("%s: %w: %w", ref, ErrUnavailable, err)
		}
	}
	return nil, fmt.Errorf("%s: %w", ref, ErrUnavailable)
}

func (v *Vault) resolve(ctx context.Context, ref Ref) (*Secret, error) {
	var c store.Credential
	var generation int64
	var err error
	if ref.ID != 0 {
		c, generation, err = v.store.Credential(ctx, ref.ID)
	} else {
		c, generation, err = v.store.CredentialNamed(ctx, ref.Tenant, ref.Name)
	}
	if err != nil {
		return nil, err
	}
	if err := v.putBack(&c); err != nil {
		return nil, err
	}
	k, err := v.keys(ctx, generation)
	if err != nil {
		return nil, err
	}
	value, err := open(k, &c)
	if err != nil {
		return nil, err
	}
	return &Secret{ID: c.ID, Tenant: c.Tenant, Name: c.Name, Type: Type(c.Type), Header: c.Header, Value: string(value), Version: c.Version}, nil
}

// An InvalidError is what was wrong with what was to be kept; it repeats no value.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }
func (e *InvalidError) Unwrap() error { return e.Err }

func notFound(err error, ref Ref) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s: %w", ref, ErrCredentialNotFound)
	}
	return err
}

// Describe names a credential in one line, for logs and the audit log.
func Describe(c Info) string {
	owner := ""
	if c.Tenant != "" {
		owner = " of tenant " + c.Tenant
	}
	return fmt.Sprintf("credential %d, %s%s", c.ID, c.Name, owner)
}
