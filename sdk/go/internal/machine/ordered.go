package machine

import "iter"

// ordered is a map that remembers in which order its keys came.
type ordered[K comparable, V any] struct {
	entries     map[K]*entry[K, V]
	first, last *entry[K, V]
}

type entry[K comparable, V any] struct {
	key            K
	value          V
	previous, next *entry[K, V]
	gone           bool
}

func newOrdered[K comparable, V any]() *ordered[K, V] {
	return &ordered[K, V]{entries: map[K]*entry[K, V]{}}
}

func (o *ordered[K, V]) len() int { return len(o.entries) }

func (o *ordered[K, V]) has(key K) bool {
	_, found := o.entries[key]
	return found
}

func (o *ordered[K, V]) get(key K) (V, bool) {
	if e := o.entries[key]; e != nil {
		return e.value, true
	}
	var none V
	return none, false
}

// put adds a key at the end, or replaces the value of one that is there where it stands.
func (o *ordered[K, V]) put(key K, value V) {
	if e := o.entries[key]; e != nil {
		e.value = value
		return
	}
	e := &entry[K, V]{key: key, value: value, previous: o.last}
	if o.last != nil {
		o.last.next = e
	} else {
		o.first = e
	}
	o.last = e
	o.entries[key] = e
}

func (o *ordered[K, V]) remove(key K) bool {
	e := o.entries[key]
	if e == nil {
		return false
	}
	delete(o.entries, key)
	if e.previous != nil {
		e.previous.next = e.next
	} else {
		o.first = e.next
	}
	if e.next != nil {
		e.next.previous = e.previous
	} else {
		o.last = e.previous
	}
	e.gone = true
	return true
}

// trim removes the oldest keys beyond a number.
func (o *ordered[K, V]) trim(most int) {
	for len(o.entries) > most {
		o.remove(o.first.key)
	}
}

// all goes over everything, oldest first. The key that was given last may be removed meanwhile, and others added.
func (o *ordered[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := o.first; e != nil; {
			next := e.next
			if !yield(e.key, e.value) {
				return
			}
			if !e.gone {
				next = e.next
			}
			e = next
		}
	}
}
