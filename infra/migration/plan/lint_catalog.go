package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// object is an entry of a database's catalog: a table, a column, an index.
type object struct {
	kind   string
	id     string // on PostgreSQL it survives a new name
	parent string // id of the table, of a table's schema, of an enum value's type
	name   string
	attrs  map[string]string
}

// names returns the columns of an index or a constraint.
func (o object) columns() []string {
	return strings.FieldsFunc(o.attrs["columns"], func(r rune) bool { return r == ',' })
}

// catalog holds objects by id.
type catalog map[string]object

func (c catalog) add(o object) { c[o.id] = o }

// find returns the first object, in the order of ids, for which ok holds.
func (c catalog) find(ok func(object) bool) (object, bool) {
	for _, id := range slices.Sorted(maps.Keys(c)) {
		if ok(c[id]) {
			return c[id], true
		}
	}
	return object{}, false
}

// within returns a table and what belongs to it.
func (c catalog) within(table string) catalog {
	part := maps.Clone(c)
	maps.DeleteFunc(part, func(id string, o object) bool { return id != table && o.parent != table })
	return part
}

// event is what a statement did to an object.
type event struct {
	what     string // one of the constants below
	from, to object // before and after; the same for what leaves no trace in the catalog
}

const (
	added    = "added"
	dropped  = "dropped"
	renamed  = "renamed" // or moved to another schema
	changed  = "changed"
	replaced = "replaced" // dropped and added under the same name
	locked   = "locked"   // in a way that stops writes
	written  = "written"  // rows, perhaps many
	emptied  = "emptied"  // rows, all of them
	executed = "executed" // the statement itself
)

// object returns the object as it was, or as it is if it was not there.
func (e event) object() object {
	if e.from.id == "" {
		return e.to
	}
	return e.from
}

// changes reports whether an attribute is another one now.
func (e event) changes(attr string) bool { return e.from.attrs[attr] != e.to.attrs[attr] }

// events returns what leads from one catalog to the other. What goes with its table, its schema or its column is not
// mentioned.
func events(from, to catalog) []event {
	var all []event
	gone := map[string][]string{} // names of dropped columns, by table
	for id, was := range from {
		is, still := to[id]
		switch {
		case still && (is.name != was.name || is.parent != was.parent):
			all = append(all, event{renamed, was, is})
			fallthrough
		case still:
			if !maps.Equal(was.attrs, is.attrs) {
				all = append(all, event{changed, was, is})
			}
		case was.kind == "column":
			gone[was.parent] = append(gone[was.parent], was.name)
			fallthrough
		default:
			all = append(all, event{dropped, was, object{}})
		}
	}
	for id, is := range to {
		if _, old := from[id]; !old {
			all = append(all, event{added, object{}, is})
		}
	}
	all = slices.DeleteFunc(all, func(e event) bool {
		_, kept := to[e.from.parent]
		return e.what == dropped && (e.from.parent != "" && !kept || e.from.kind != "column" &&
			slices.ContainsFunc(e.from.columns(), func(c string) bool { return slices.Contains(gone[e.from.parent], c) }))
	})
	slices.SortFunc(all, func(a, b event) int { return cmp.Compare(a.what+a.object().id, b.what+b.object().id) })
	return pair(all, func(d, a object) bool { return d.kind == a.kind && d.parent == a.parent && d.name == a.name }, replaced)
}

// pair turns a dropped object and an added one that are the same into one event.
func pair(all []event, same func(dropped, added object) bool, what string) []event {
	var rest []event
	paired := map[string]bool{}
	for _, e := range all {
		if e.what != dropped {
			continue
		}
		i := slices.IndexFunc(all, func(a event) bool { return a.what == added && !paired[a.to.id] && same(e.from, a.to) })
		if i >= 0 {
			paired[e.from.id], paired[all[i].to.id] = true, true
			rest = append(rest, event{what, e.from, all[i].to})
		}
	}
	for _, e := range all {
		if (e.what == dropped || e.what == added) && paired[e.object().id] {
			continue
		}
		rest = append(rest, e)
	}
	return rest
}
