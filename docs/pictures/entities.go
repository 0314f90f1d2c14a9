package main

import (
	"fmt"
	"slices"
	"strings"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql/schema"
	"entgo.io/ent/schema/field"

	"github.com/softbee/accounts/ent/migrate"
)

const (
	rowHeight  = 21
	headHeight = 34
	tableWidth = 400
	margin     = 24
	gap        = 120 // between the tables on the left and those on the right, for the lines
)

// place is where a table is drawn.
type place struct {
	table *schema.Table
	x, y  int
}

func (p place) height() int { return headHeight + rowHeight*len(p.table.Columns) + 6 }

// row is the height of a column's line.
func (p place) row(column *schema.Column) int {
	return p.y + headHeight + rowHeight*slices.Index(p.table.Columns, column) + rowHeight/2 + 3
}

// entities draws the tables of the schema: those that others refer to on the left, the others on the right.
func entities() string {
	referred := map[*schema.Table]bool{}
	for _, table := range migrate.Tables {
		for _, key := range table.ForeignKeys {
			referred[key.RefTable] = true
		}
	}
	var places []place
	bottoms := map[bool]int{}
	for _, table := range slices.Backward(migrate.Tables) {
		left := referred[table]
		p := place{table: table, x: margin, y: max(margin, bottoms[left]+40)}
		if !left {
			p.x = margin + tableWidth + gap
		}
		bottoms[left] = p.y + p.height()
		places = append(places, p)
	}
	var s strings.Builder
	height := max(bottoms[true], bottoms[false]) + margin + 28
	s.WriteString(begin(2*margin+2*tableWidth+gap, height, "The tables of the accounts", description()))
	for _, p := range places {
		s.WriteString(p.draw())
	}
	lane := 0
	for _, from := range places {
		for _, key := range from.table.ForeignKeys {
			to := places[slices.IndexFunc(places, func(p place) bool { return p.table == key.RefTable })]
			s.WriteString(edge(from, to, key.Columns[0], key.RefColumns[0], &lane, "line", strings.ToLower(string(key.OnDelete))))
		}
		// The trail outlives the accounts, and so has no foreign key.
		if i := slices.IndexFunc(from.table.Columns, func(c *schema.Column) bool { return c.Name == "account_id" }); i >= 0 {
			users := places[slices.IndexFunc(places, func(p place) bool { return p.table.Name == "users" })]
			s.WriteString(edge(from, users, from.table.Columns[i], users.table.PrimaryKey[0], &lane, "line dashed", "outlives the account"))
		}
	}
	fmt.Fprintf(&s, "<text class=\"note\" x=\"%d\" y=\"%d\">Types are PostgreSQL's. PK primary key, FK foreign key, U unique; NULL: may be absent.</text>\n", margin, height-margin+6)
	s.WriteString("</svg>\n")
	return s.String()
}

func description() string {
	var all []string
	for _, table := range migrate.Tables {
		all = append(all, fmt.Sprintf("%s has %d columns", table.Name, len(table.Columns)))
	}
	return strings.Join(all, ", ") + "."
}

func (p place) draw() string {
	var s strings.Builder
	fmt.Fprintf(&s, "<rect class=\"table\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", p.x, p.y, tableWidth, p.height())
	fmt.Fprintf(&s, "<path class=\"heading\" d=\"M%d %dv-%dq0 -6 6 -6h%dq6 0 6 6v%dz\"/>\n", p.x, p.y+headHeight-4, headHeight-10, tableWidth-12, headHeight-10)
	fmt.Fprintf(&s, "<text class=\"code name\" x=\"%d\" y=\"%d\">%s</text>\n", p.x+14, p.y+20, p.table.Name)
	for _, column := range p.table.Columns {
		y := p.row(column) + 4
		fmt.Fprintf(&s, "<text class=\"code\" x=\"%d\" y=\"%d\">%s</text>\n", p.x+14, y, column.Name)
		kind := columnType(column)
		if column.Nullable {
			kind += " NULL"
		}
		fmt.Fprintf(&s, "<text class=\"note\" x=\"%d\" y=\"%d\">%s</text>\n", p.x+220, y, kind)
		if keys := p.keys(column); keys != "" {
			fmt.Fprintf(&s, "<text class=\"key\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", p.x+tableWidth-14, y, keys)
		}
	}
	return s.String()
}

// keys are what a column is part of.
func (p place) keys(column *schema.Column) string {
	var all []string
	if slices.Contains(p.table.PrimaryKey, column) {
		all = append(all, "PK")
	}
	for _, key := range p.table.ForeignKeys {
		if slices.Contains(key.Columns, column) {
			all = append(all, "FK")
		}
	}
	unique := column.Unique
	for _, index := range p.table.Indexes {
		unique = unique || index.Unique && slices.Contains(index.Columns, column)
	}
	if unique {
		all = append(all, "U")
	}
	return strings.Join(all, " ")
}

// columnType is what PostgreSQL calls the type of a column.
func columnType(column *schema.Column) string {
	if name, ok := column.SchemaType[dialect.Postgres]; ok {
		return name
	}
	switch column.Type {
	case field.TypeUUID:
		return "uuid"
	case field.TypeBool:
		return "boolean"
	case field.TypeTime:
		return "timestamptz"
	case field.TypeJSON:
		return "jsonb"
	case field.TypeInt64:
		return "bigint"
	default:
		return column.Type.String()
	}
}

// edge leads from a column on the right to one on the left, each in a lane of its own: many to one.
func edge(from, to place, column, target *schema.Column, lane *int, class, text string) string {
	y, end := from.row(column), to.row(target)+6**lane
	x := from.x - 36 - 24**lane
	*lane++
	right := to.x + tableWidth
	return polyline(class, []point{{from.x, y}, {x, y}, {x, end}, {right, end}}, true) +
		fmt.Sprintf("<path class=\"line\" d=\"M%d %dL%d %dL%d %d\"/>\n", from.x, y-5, from.x-10, y, from.x, y+5) +
		fmt.Sprintf("<text class=\"note\" x=\"%d\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 %[1]d %[2]d)\">%s</text>\n", x-8, (y+end)/2, text)
}
