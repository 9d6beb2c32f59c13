package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
)

// Remote resolves by id from a service that speaks the Octopus Credentials API:
// GET {URL}/{id} answers {"credentialId","type","value"[,"name","header","tenantId","version"]}.
// An answer is held for Hold at most, and forgotten where it turns out wrong.
type Remote struct {
	URL    string
	Client *http.Client // behind the guard, with the gate's certificate where it has to show one
	Token  func() (string, error)
	Hold   time.Duration
	Now    func() time.Time

	mu   sync.Mutex
	held map[int64]held
}

type held struct {
	secret *Secret
	until  time.Time
}

const maxHeld = 1000

// Resolve asks the service, or returns what it said a moment ago.
func (r *Remote) Resolve(ctx context.Context, ref Ref) (*Secret, error) {
	if ref.ID == 0 {
		return nil, fmt.Errorf("%s: %w: the Credentials API knows ids only", ref, ErrCredentialNotFound)
	}
	now := r.Now()
	r.mu.Lock()
	h, ok := r.held[ref.ID]
	r.mu.Unlock()
	if ok && now.Before(h.until) {
		return h.secret, nil
	}
	s, err := r.fetch(ctx, ref)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil || len(r.held) >= maxHeld {
		r.held = make(map[int64]held)
	}
	r.held[ref.ID] = held{s, now.Add(r.Hold)}
	return s, nil
}

// Forget has the next look-up ask again.
func (r *Remote) Forget(id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, id)
}

func (r *Remote) fetch(ctx context.Context, ref Ref) (*Secret, error) {
	unavailable := func(err error) error {
		return fmt.Errorf("%s: %w: the Credentials API at %s: %w", ref, ErrUnavailable, r.URL, err)
	}
	address, err := url.JoinPath(r.URL, strconv.FormatInt(ref.ID, 10))
	if err != nil {
		return nil, unavailable(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, unavailable(err)
	}
	if r.Token != nil {
		token, err := r.Token()
		if err != nil {
			return nil, unavailable(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Accept", "application/json")
	res, err := r.Client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = &quotedError{unquoted(failed.Err), failed}
	}
	if err != nil {
		return nil, unavailable(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 2*maxValue))
	switch {
	case err != nil:
		return nil, unavailable(err)
	case res.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w at %s", ref, ErrCredentialNotFound, r.URL)
	case res.StatusCode != http.StatusOK:
		return nil, unavailable(fmt.Errorf("it answered %d", res.StatusCode))
	}
	var said struct {
		ID      int64  `json:"credentialId"`
		Name    string `json:"name"`
		Type    Type   `json:"type"`
		Header  string `json:"header"`
		Tenant  string `json:"tenantId"`
		Value   string `json:"value"`
		Version int64  `json:"version"`
	}
	if err := jsonv2.Unmarshal(body, &said); err != nil {
		return nil, unavailable(errors.New("its answer is no JSON of a credential")) // repeats nothing of it
	}
	s := &Secret{ID: ref.ID, Tenant: said.Tenant, Name: said.Name, Type: said.Type, Header: said.Header, Value: said.Value, Version: said.Version}
	if said.ID != ref.ID {
		return nil, unavailable(errors.New("it answered with another credential"))
	}
	if err := s.checkValue(); err != nil {
		return nil, unavailable(err)
	}
	return s, nil
}
