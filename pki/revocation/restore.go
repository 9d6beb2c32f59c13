package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// errUntrusted reports a kept list whose issuer does not lead to an anchor now. Its file
// stays, as the anchor may come back.
var errUntrusted = errors.New("its issuer does not lead to a trusted CA")

// earlierName is what kept lists were called that were kept by URL, without their issuer.
var earlierName = regexp.MustCompile(`^([0-9a-f]{64})-[0-9a-f]{16}\.crl$`)

// restore puts kept lists in force: all of them the first time, and later those whose
// issuer was not trusted, if the trusted ones have changed. They are verified like any
// other; one that has ended is stale.
func (s *Source) restore(ctx context.Context) {
	if s.opts.Dir == "" {
		return
	}
	s.restoring.Lock()
	defer s.restoring.Unlock()
	files, first := s.toRestore()
	if len(files) == 0 {
		return
	}
	var again []string
	for i, file := range files {
		if ctx.Err() != nil {
			s.restored(append(again, files[i:]...), false)
			return
		}
		err := s.restoreFile(file)
		if err == nil {
			continue
		}
		untrusted := errors.Is(err, errUntrusted) || errors.Is(err, ErrIssuer)
		if untrusted {
			again = append(again, file)
		}
		if first || !untrusted {
			s.opts.Logger.Warn("kept CRL is not used", "file", file, "err", err)
		}
	}
	s.restored(again, true)
}

// toRestore returns the files to try: all the first time, and then none unless others are
// trusted than when they were last tried.
func (s *Source) toRestore() (files []string, first bool) {
	trusted := slices.Concat(s.opts.Anchors(), s.opts.Issuers())
	s.mu.Lock()
	defer s.mu.Unlock()
	first = !s.begun
	if !first && s.tried &&
		slices.EqualFunc(trusted, s.trusted, (*x509.Certificate).Equal) {
		return nil, false
	}
	if s.trusted, s.tried = trusted, true; first {
		s.begun = true
		s.begin()
		s.publish()
	}
	files, s.pending = s.pending, nil
	return files, first
}

// restored notes the files that are to be tried again. All were tried, or ctx ended before.
func (s *Source) restored(again []string, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, again...)
	s.tried = all
	s.publish()
}

// begin reads which files there are. The caller holds s.mu.
func (s *Source) begin() {
	for _, it := range s.items {
		if err := s.readPlace(it); err != nil {
			s.opts.Logger.Warn("failed to read which CRLs a file or URL served", "name", it.name, "err", err)
		}
	}
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opts.Logger.Warn("failed to read kept CRLs", "err", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), listPrefix) && strings.HasSuffix(e.Name(), listSuffix) || earlierName.MatchString(e.Name()) {
			s.pending = append(s.pending, filepath.Join(s.opts.Dir, e.Name()))
		}
	}
}

func (s *Source) restoreFile(file string) error {
	if earlier := earlierName.FindStringSubmatch(filepath.Base(file)); earlier != nil {
		return s.migrate(file, earlier[1])
	}
	key, ok := parseKey(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), listPrefix), listSuffix))
	if !ok {
		return errors.New("not a name of a kept list")
	}
	chain, err := s.readChain(key.issuer)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	issuers := s.issuers()
	if len(chain) > 0 {
		if !s.leads(chain) {
			if s.forgets(key, chain) {
				return nil
			}
			return errUntrusted
		}
		issuers = append(issuers, chain[0])
	}
	data, err := readOwn(file, MaxCRLBytes)
	if err != nil {
		return err
	}
	list, err := parseKept(data, issuers, s.opts.Now())
	if list == nil {
		return err
	}
	if list.id != key {
		return errors.New("another list than the one its name says")
	}
	list.sum = sha256.Sum256(data)
	if s.reinstate(list, chain) && !s.opts.ReadOnly {
		s.opts.Kept(list.mark())
	}
	return nil
}

// forgets removes a kept list of which nothing can be valid any more.
func (s *Source) forgets(key listKey, chain []*x509.Certificate) bool {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := s.ended(chain)
	if ended {
		s.remove(key)
	}
	return ended
}

// reinstate puts a kept list in force unless a newer one is. One that is older than what
// was in force counts for whom it revokes, and for nobody else. It reports whether the
// list is in force and none that was is newer.
func (s *Source) reinstate(list *CRL, chain []*x509.Certificate) bool {
	list.Name = s.opts.Dir
	current, err := s.putBack(list, chain)
	if err == nil {
		return current
	}
	s.opts.Logger.Error("kept CRL is older than the one that was in force: it counts for those it revokes only",
		"name", list.Name, "err", err)
	if list.Name != s.opts.Dir {
		s.opts.OnUpdate(Update{Name: list.Name, Outcome: Refused, Err: fmt.Errorf("kept list: %w", err), List: list})
	}
	return false
}

func (s *Source) putBack(list *CRL, chain []*x509.Certificate) (inForce bool, rolledBack error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.inForce[list.id]; held != nil && list.replaces(held) != nil {
		return false, nil
	}
	for _, it := range s.items {
		if it.served[list.id] != 0 && (list.Name == s.opts.Dir || s.first(it, list.id)) {
			list.Name = it.name
		}
	}
	rolledBack = s.opts.Admit(list.mark())
	list.outdated = rolledBack != nil
	s.inForce[list.id] = list
	if len(chain) == 0 {
		chain = s.chainOf(list.Issuer)
	}
	s.chains[list.id.issuer] = chain
	return true, rolledBack
}

// migrate takes up a list that was kept by its URL, and keeps it by its issuer.
func (s *Source) migrate(file, place string) error {
	data, err := readOwn(file, MaxCRLBytes)
	if err != nil {
		return err
	}
	list, err := parseKept(data, s.issuers(), s.opts.Now())
	if list == nil {
		return err
	}
	list.sum = sha256.Sum256(data)
	s.mu.Lock()
	at := slices.IndexFunc(s.items, func(it *item) bool {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(it.name))) == place
	})
	if at >= 0 {
		s.serve(s.items[at], list.id)
	}
	s.mu.Unlock()
	s.reinstate(list, nil)
	if at >= 0 {
		s.keepPlace(s.items[at])
	}
	if !s.keep(list, data) || !s.keeps() {
		return nil
	}
	if _, err := os.Stat(s.listFile(list.id)); err != nil {
		return nil // a newer list is in force, and not on disk
	}
	return os.Remove(file)
}
