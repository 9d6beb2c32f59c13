package admission

import "container/list"

// A ranking orders what holds places by how many it holds. The zero ranking is empty.
type ranking struct {
	levels []*list.List // levels[n]: who holds n, in front who came there first
	top    int          // highest level that is not empty
}

// move moves who is at an element from one level to another. Nobody is at level 0.
func (r *ranking) move(at *list.Element, who any, from, to int) *list.Element {
	if from > 0 {
		r.levels[from].Remove(at)
		at = nil
	}
	if to > 0 {
		for len(r.levels) <= to {
			r.levels = append(r.levels, list.New())
		}
		at = r.levels[to].PushBack(who)
		r.top = max(r.top, to)
	}
	for r.top > 0 && r.levels[r.top].Len() == 0 {
		r.top--
	}
	return at
}

// most returns who holds most. There has to be somebody.
func (r *ranking) most() any { return r.levels[r.top].Front().Value }
