package spiffe

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Bounds of SPIFFE-ID, 2.3, which go-spiffe does not look at.
const (
	maxID     = 2048 // bytes
	maxDomain = 255
)

// maxFederated bounds the trust domains of a configuration.
const maxFederated = 100

// address returns where the agent is, from the environment where none is given.
func address(given string) (string, error) {
	if given == "" {
		given, _ = workloadapi.GetDefaultAddress()
	}
	if given == "" {
		return "", fmt.Errorf("no agent's address; give one, unix:///run/spire/sockets/agent.sock say, or set %s", workloadapi.SocketEnv)
	}
	if err := workloadapi.ValidateAddress(given); err != nil {
		return "", fmt.Errorf("agent's address %q: %w", given, err)
	}
	// go-spiffe lets unix://run/agent.sock pass, and dials nothing for it.
	if u, err := url.Parse(given); err != nil || u.Scheme == "unix" && (u.Host != "" || !path.IsAbs(u.Path)) {
		return "", fmt.Errorf("agent's address %q: the path is not absolute; write unix:/// with three slashes", given)
	}
	return given, nil
}

// exposed tells that keys from this address would cross a network in clear.
func exposed(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "tcp" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.Unmap().IsLoopback()
}

// parseID takes the ID of a workload, which has a path.
func parseID(s string) (spiffeid.ID, error) {
	id, err := spiffeid.FromString(s)
	if err == nil {
		err = bounded(id)
	}
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID %q: %w", s, err)
	}
	return id, nil
}

func bounded(id spiffeid.ID) error {
	switch {
	case id.Path() == "":
		return errors.New("it is a trust domain's and has no path")
	case len(id.String()) > maxID:
		return fmt.Errorf("it is longer than %d bytes", maxID)
	case len(id.TrustDomain().Name()) > maxDomain:
		return fmt.Errorf("its trust domain is longer than %d bytes", maxDomain)
	}
	return nil
}

func parseDomains(names []string) ([]spiffeid.TrustDomain, error) {
	if len(names) > maxFederated {
		return nil, fmt.Errorf("%d federated trust domains, at most %d are allowed", len(names), maxFederated)
	}
	var domains []spiffeid.TrustDomain
	var errs []error
	for _, name := range names {
		td, err := spiffeid.TrustDomainFromString(name)
		if err == nil && len(td.Name()) > maxDomain {
			err = fmt.Errorf("it is longer than %d bytes", maxDomain)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("federated trust domain %q: %w", name, err))
		}
		domains = append(domains, td)
	}
	return domains, errors.Join(errs...)
}
