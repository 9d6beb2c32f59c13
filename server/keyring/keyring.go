// Package keyring is what operators do with API keys, on the command line and
// below /api alike: mint, list, rotate and revoke those of the state store, and
// tell those of the configuration. A key itself is returned once, by what made
// it; nothing here can show it again.
package keyring

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/sangate/sangate/server/apikey"
	"github.com/sangate/sangate/server/store"
)

// Errors that callers branch on.
var (
	// ErrConfigured reports a key that stands in the configuration.
	ErrConfigured = errors.New("it stands in the configuration: change it there")
	// ErrEnded reports a key that cannot be rotated, because it is not good now.
	ErrEnded = errors.New("it is no longer good, or not yet: mint another")
)

// A Minted key is shown once.
type Minted struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Key      string    `json:"key"`
	SHA256   string    `json:"sha256"`
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// An Order is what a key is to be. A lifetime of zero is for ever.
type Order struct {
	Tenant      string
	Description string
	Lifetime    time.Duration
	Pin         apikey.Pin
}

// Make makes a key without keeping it.
func Make(o Order, now time.Time) (Minted, apikey.Entry, error) {
	if err := o.Pin.Check(); err != nil {
		return Minted{}, apikey.Entry{}, err
	}
	key, id, err := apikey.Mint()
	if err != nil {
		return Minted{}, apikey.Entry{}, err
	}
	e := apikey.Entry{ID: id, Tenant: o.Tenant, Digest: apikey.Digest(key), Pin: o.Pin}
	if o.Lifetime > 0 {
		e.NotAfter = now.Add(o.Lifetime).UTC().Truncate(time.Second)
	}
	return Minted{ID: id, Tenant: o.Tenant, Key: key, SHA256: hex.EncodeToString(e.Digest[:]), NotAfter: e.NotAfter}, e, nil
}

// Mint makes a key and keeps its digest.
func Mint(ctx context.Context, s *store.Store, o Order, now time.Time) (Minted, error) {
	minted, entry, err := Make(o, now)
	if err != nil {
		return Minted{}, err
	}
	return minted, s.AddKey(ctx, entry, o.Description)
}

// Rotate makes a key in the place of another of the state store, which stays
// good for the overlap, or until its own end where that is sooner. It returns
// [store.ErrNotFound], [ErrConfigured] or [ErrEnded].
func Rotate(ctx context.Context, s *store.Store, configured []apikey.Entry, id string, overlap, lifetime time.Duration, now time.Time) (Minted, error) {
	old, err := find(ctx, s, configured, id)
	if err != nil {
		return Minted{}, err
	}
	if old.State(now) != "live" {
		return Minted{}, fmt.Errorf("key %q: %w", id, ErrEnded)
	}
	minted, entry, err := Make(Order{Tenant: old.Tenant, Lifetime: lifetime, Pin: old.Pin}, now)
	if err != nil {
		return Minted{}, err
	}
	end := now.Add(overlap)
	if !old.NotAfter.IsZero() && old.NotAfter.Before(end) {
		end = old.NotAfter
	}
	return minted, s.RotateKey(ctx, id, end, entry, old.Description)
}

// Revoke revokes a key of the state store for good. It returns
// [store.ErrNotFound] or [ErrConfigured].
func Revoke(ctx context.Context, s *store.Store, configured []apikey.Entry, id string, now time.Time) error {
	if _, err := find(ctx, s, configured, id); err != nil {
		return err
	}
	return s.RevokeKey(ctx, id, now)
}

func find(ctx context.Context, s *store.Store, configured []apikey.Entry, id string) (store.KeyRecord, error) {
	records, err := s.Keys(ctx)
	if err != nil {
		return store.KeyRecord{}, err
	}
	for _, r := range records {
		if r.ID == id {
			return r, nil
		}
	}
	for _, e := range configured {
		if e.ID == id {
			return store.KeyRecord{}, fmt.Errorf("key %q: %w", id, ErrConfigured)
		}
	}
	return store.KeyRecord{}, fmt.Errorf("no key with the id %q in the state store: %w", id, store.ErrNotFound)
}

// A Listed key is one as it is told.
type Listed struct {
	ID          string    `json:"id"`
	Tenant      string    `json:"tenant"`
	Description string    `json:"description,omitempty"`
	Source      string    `json:"source"` // config or store
	State       string    `json:"state"`  // live, expired, revoked, not yet
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	NotBefore   time.Time `json:"notBefore,omitzero"`
	NotAfter    time.Time `json:"notAfter,omitzero"`
	RevokedAt   time.Time `json:"revokedAt,omitzero"`
	SAN         string    `json:"san,omitempty"`         // rule it is pinned to
	Certificate string    `json:"certificate,omitempty"` // SHA-256 it is pinned to
	LastUsed    time.Time `json:"lastUsed,omitzero"`     // noted once a minute; of the store's keys
}

// List returns the keys of the store, the oldest first, and then those of the
// configuration; of one tenant only, where one is named.
func List(ctx context.Context, s *store.Store, configured []apikey.Entry, tenant string, now time.Time) ([]Listed, error) {
	records, err := s.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range configured {
		records = append(records, store.KeyRecord{Entry: e})
	}
	list := []Listed{}
	for _, r := range records {
		if tenant == "" || r.Tenant == tenant {
			list = append(list, Listed{r.ID, r.Tenant, r.Description, r.Source, r.State(now), r.CreatedAt, r.NotBefore, r.NotAfter, r.RevokedAt, r.Pin.SAN, r.Pin.Certificate, r.LastUsed})
		}
	}
	return list, nil
}
