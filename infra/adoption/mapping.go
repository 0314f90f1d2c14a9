package adoption

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/softbee/accounts/domain"
)

// Mapping describes a table of accounts that is not the predecessor's. In JSON:
//
//	{
//	  "table": "auth_user",
//	  "columns": {
//	    "id": "id",
//	    "email": "email",
//	    "username": {"column": "username", "generate": true},
//	    "hashed_password": "password",
//	    "is_verified": {"set": "confirmed_at"},
//	    "is_active": {"constant": true}
//	  }
//	}
//
// The keys of columns are this program's columns. id, email, username and hashed_password are required; id must be the
// primary key. Columns that are not named take their defaults; refresh, reset and verification tokens cannot be
// taken over.
type Mapping struct {
	Table   string            `json:"table"`
	Columns map[string]Origin `json:"columns"`
}

// Origin says where a column's values come from. Exactly one of Column, Set and Constant is given, except that Generate may
// stand alone. In JSON a mere string is a Column.
type Origin struct {
	Column   string `json:"column"`   // the other table's column
	Set      string `json:"set"`      // true where the other table's column is not NULL
	Constant *bool  `json:"constant"` // the same for all
	Generate bool   `json:"generate"` // for username: make one up where there is none, or none that is valid
}

// UnmarshalJSON reads a string or an object.
func (o *Origin) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &o.Column) == nil {
		return nil
	}
	type plain Origin
	return strict(data, (*plain)(o))
}

// The columns that a mapping may name, with what they hold.
const (
	textual = iota
	truth
	count
	instant
)

var mappable = map[string]int{
	"id": textual, "email": textual, "username": textual, "hashed_password": textual, "first_name": textual, "last_name": textual,
	"phone": textual, "is_active": truth, "is_verified": truth, "failed_login_attempts": count, "last_login": instant,
	"locked_until": instant, "created_at": instant, "updated_at": instant,
}

// ParseMapping reads a mapping. It returns [domain.ErrInvalid] on the field "map".
func ParseMapping(r io.Reader) (*Mapping, error) {
	const limit = 1 << 20
	data, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return nil, err
	}
	m := new(Mapping)
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors begin a UTF-8 file with it
	if err := strict(data, m); err != nil {
		return nil, refuse(domain.ErrInvalid, "map", "is not a mapping: "+err.Error())
	}
	return m, m.check()
}

func strict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("there is more after it")
	}
	return nil
}

func (m *Mapping) check() error {
	if m.Table == "" {
		return refuse(domain.ErrInvalid, "map", "names no table")
	}
	for _, required := range []string{"id", "email", "username", "hashed_password"} {
		if _, ok := m.Columns[required]; !ok {
			return refuse(domain.ErrInvalid, "map", "does not say where "+required+" comes from")
		}
	}
	for name, origin := range m.Columns {
		kind, known := mappable[name]
		if !known {
			return refuse(domain.ErrInvalid, "map", "names "+name+", which is not a column that can be taken over")
		}
		sources := 0
		for _, given := range []bool{origin.Column != "", origin.Set != "", origin.Constant != nil} {
			if given {
				sources++
			}
		}
		switch {
		case sources > 1, sources == 0 && !origin.Generate:
			return refuse(domain.ErrInvalid, "map", "must give "+name+" one of column, set and constant")
		case (origin.Set != "" || origin.Constant != nil) && kind != truth:
			return refuse(domain.ErrInvalid, "map", "gives "+name+" a truth value, which it cannot hold")
		case origin.Generate && name != "username":
			return refuse(domain.ErrInvalid, "map", "generates "+name+"; only username can be")
		}
	}
	return nil
}

// predecessor is the table that this program succeeds, in which columns are named as here.
func predecessor(columns []string) *Mapping {
	m := &Mapping{Table: "users", Columns: make(map[string]Origin)}
	for _, name := range columns {
		if _, ok := mappable[name]; ok {
			m.Columns[name] = Origin{Column: name}
		}
	}
	return m
}

// tokens are the columns of the predecessor that hold tokens as they were handed out. They are emptied.
var tokens = []string{"refresh_tokens", "reset_token", "reset_token_expiry", "verification_token", "verification_token_expiry"}

// taken tells whether a column of the predecessor's table is one of this program's.
func taken(name string) bool {
	_, mapped := mappable[name]
	return mapped || slices.Contains(tokens, name) || name == "version"
}
