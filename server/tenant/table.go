package tenant

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sangate/sangate/pki"
	"github.com/sangate/sangate/pki/sanrule"
)

// A Table maps names to tenants. It is immutable and safe for concurrent use.
type Table struct {
	tenants []*Tenant
	byID    map[string]*Tenant
	rules   sanrule.Set[*Tenant]
}

// A RuleError is one thing wrong with the rules; Tenant and SAN are indices into
// what NewTable was given, SAN is -1 where the entry as a whole is meant.
type RuleError struct {
	Tenant, SAN int
	Err         error
}

func (e *RuleError) Error() string { return e.Err.Error() }
func (e *RuleError) Unwrap() error { return e.Err }

// NewTable compiles the tenants' rules. The error joins a [*RuleError] for
// everything wrong with them.
func NewTable(tenants []*Tenant) (*Table, error) {
	t := &Table{tenants: tenants, byID: make(map[string]*Tenant)}
	var errs []error
	for i, tn := range tenants {
		if err := tn.Check(); err != nil {
			errs = append(errs, &RuleError{i, -1, err})
			continue
		}
		if t.byID[tn.ID] != nil {
			errs = append(errs, &RuleError{i, -1, fmt.Errorf("tenant %q stands here twice", tn.ID)})
			continue
		}
		t.byID[tn.ID] = tn
		for j, text := range tn.SANs {
			if err := t.add(text, tn); err != nil {
				errs = append(errs, &RuleError{i, j, err})
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Tenants returns the entries in configured order. Not to be changed.
func (t *Table) Tenants() []*Tenant { return t.tenants }

// ByID returns the tenant configured under a literal id, or nil.
func (t *Table) ByID(id string) *Tenant { return t.byID[id] }

// Knows reports whether certificates can be mapped to a tenant of that id: a
// configured one, or one that a rule can capture.
func (t *Table) Knows(id string) bool {
	if tn := t.byID[id]; tn != nil {
		return !tn.Captured()
	}
	return slices.ContainsFunc(t.tenants, func(tn *Tenant) bool { return tn.CanCapture(id) })
}

// add puts one rule of a tenant into the table. A captured id is captured by
// each of its rules, and nothing else is captured.
func (t *Table) add(text string, tn *Tenant) error {
	r, err := sanrule.Parse(text)
	if err != nil {
		return err
	}
	captures := r.Captures()
	switch {
	case tn.Captured() && len(captures) == 0:
		return fmt.Errorf("SAN rule %q: the tenant's id is %s, so each of its rules must capture it", text, tn.ID)
	case len(captures) > 0 && tn.ID != "{"+captures[0]+"}":
		return fmt.Errorf("SAN rule %q: {%s} is captured, but the tenant's id is %q; write * for a segment that does not matter", text, captures[0], tn.ID)
	}
	err = t.rules.Add(r, tn)
	if clash, ok := errors.AsType[*sanrule.OverlapError[*Tenant]](err); ok {
		return fmt.Errorf("SAN rule %q of tenant %s and %q of tenant %s can match the same name; make one of them narrower",
			clash.Rule, clash.Value.ID, clash.Other, clash.Before.ID)
	}
	return err
}

// Lookup returns the tenant one name maps to. Does not allocate.
func (t *Table) Lookup(san pki.SAN) (Match, bool) {
	found, ok := t.rules.Lookup(san)
	if !ok {
		return Match{}, false
	}
	m := Match{Tenant: found.Value, ID: found.Value.ID, Rule: found.Rule}
	if found.Value.Captured() {
		m.ID = found.Captured
	}
	return m, true
}
