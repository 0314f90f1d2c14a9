package infra

import (
	"database/sql"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent"
	"github.com/softbee/accounts/ent/user"
)

// sample gives each kind of stored value two different ones.
func sample(t *testing.T, typ reflect.Type, field string, which int) reflect.Value {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		p := reflect.New(typ.Elem())
		p.Elem().Set(sample(t, typ.Elem(), field, which))
		return p
	}
	at := time.Date(2026, 1, 1+which, 2, 3, 4, 567_890_000, time.UTC)
	texts := map[string][2]string{
		user.FieldEmail:             {"one@example.org", "two@example.org"},
		user.FieldPendingEmail:      {"next@example.org", "other@example.org"},
		user.FieldPhone:             {"+573001112233", "+573001112234"},
		user.FieldResetToken:        {strings.Repeat("a", 64), strings.Repeat("b", 64)},
		user.FieldVerificationToken: {strings.Repeat("c", 64), strings.Repeat("d", 64)},
		user.FieldPhoneCode:         {strings.Repeat("e", 64), strings.Repeat("f", 64)},
	}
	switch typ {
	case reflect.TypeFor[uuid.UUID]():
		return reflect.ValueOf(uuid.UUID{15: byte(which + 1)})
	case reflect.TypeFor[time.Time]():
		return reflect.ValueOf(at)
	case reflect.TypeFor[[]string]():
		return reflect.ValueOf([]string{strings.Repeat("x", which+1)})
	}
	switch typ.Kind() {
	case reflect.String:
		if pair, ok := texts[field]; ok {
			return reflect.ValueOf(pair[which])
		}
		return reflect.ValueOf([2]string{"first", "second"}[which])
	case reflect.Bool:
		return reflect.ValueOf(which == 1)
	case reflect.Int, reflect.Int64:
		return reflect.ValueOf(which + 1).Convert(typ)
	}
	t.Fatalf("no sample for %s of type %s", field, typ)
	return reflect.Value{}
}

// storedType is the type of the field of ent's user that holds a column.
func storedType(t *testing.T, column string) reflect.Type {
	t.Helper()
	typ := reflect.TypeFor[ent.User]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && (name == column || name == "-" && strings.EqualFold(strings.ReplaceAll(column, "_", ""), f.Name)) {
			return f.Type
		}
	}
	t.Fatalf("ent's user has no field for column %s", column)
	return nil
}

// sampleRow is a row as a driver returns it, in the order of ent's columns. In changed the columns have their second value.
func sampleRow(t *testing.T, changed ...string) valueRow {
	t.Helper()
	values := make(valueRow, len(user.Columns))
	for i, column := range user.Columns {
		which := 0
		if slices.Contains(changed, column) {
			which = 1
		}
		v := sample(t, storedType(t, column), column, which)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		switch value := v.Interface().(type) {
		case uuid.UUID:
			values[i] = value.String()
		case []string:
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			values[i] = text
		case int:
			values[i] = int64(value)
		default:
			values[i] = value
		}
	}
	return values
}

// valueRow is a row of values, as a driver has read it.
type valueRow []any

func (r valueRow) Next() bool   { return true }
func (r valueRow) Err() error   { return nil }
func (r valueRow) Close() error { return nil }

func (r valueRow) Scan(destinations ...any) error {
	for i, d := range destinations {
		if err := d.(sql.Scanner).Scan(r[i]); err != nil {
			return err
		}
	}
	return nil
}

func read(t *testing.T, r valueRow) *domain.User {
	t.Helper()
	u, err := scanUser(r)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestColumnsAreThoseOfTheSchema makes a new column of ent's schema known here.
func TestColumnsAreThoseOfTheSchema(t *testing.T) {
	if got := columnNames(); !slices.Equal(got, user.Columns) {
		t.Errorf("the mapper has the columns %v; ent's schema has %v", got, user.Columns)
	}
}

func TestEveryStoredFieldReachesTheEntity(t *testing.T) {
	base := read(t, sampleRow(t))
	for _, column := range user.Columns {
		if changed := read(t, sampleRow(t, column)); reflect.DeepEqual(base.State(), changed.State()) {
			t.Errorf("column %s does not reach the entity", column)
		}
	}
}

func TestEveryFieldOfTheEntityIsStored(t *testing.T) {
	base, second := read(t, sampleRow(t)), read(t, sampleRow(t, user.Columns...))
	written := rowValues(base)
	for i := range reflect.TypeFor[domain.UserState]().NumField() {
		state := base.State()
		reflect.ValueOf(&state).Elem().Field(i).Set(reflect.ValueOf(second.State()).Field(i))
		u, err := domain.RestoreUser(state)
		if err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(written, rowValues(u)) {
			t.Errorf("UserState.%s is not stored", reflect.TypeFor[domain.UserState]().Field(i).Name)
		}
	}
}

// TestWhatIsWrittenIsRead writes an account with all values present, and one with as many absent as can be, and reads them again.
func TestWhatIsWrittenIsRead(t *testing.T) {
	full := read(t, sampleRow(t))
	state := full.State()
	least, err := domain.RestoreUser(domain.UserState{
		ID: state.ID, Email: state.Email, Username: state.Username, PasswordHash: domain.NoPassword(), Sessions: domain.SessionList{},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []*domain.User{full, least} {
		if again := read(t, rowValues(u)); !reflect.DeepEqual(u.State(), again.State()) {
			t.Errorf("read %#v; written %#v", again.State(), u.State())
		}
	}
}

func TestAbsentValuesAreStoredAsNull(t *testing.T) {
	state := read(t, sampleRow(t)).State()
	least, err := domain.RestoreUser(domain.UserState{ID: state.ID, Email: state.Email, Username: state.Username})
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range rowValues(least) {
		nullable := storedType(t, columns[i].name).Kind() == reflect.Pointer
		if (value == nil) != nullable {
			t.Errorf("%s: an absent value is stored as %#v", columns[i].name, value)
		}
	}
}

// TestUnreadableValuesNameTheirColumn reads a value of a wrong type in each column.
func TestUnreadableValuesNameTheirColumn(t *testing.T) {
	for i, column := range user.Columns {
		row := sampleRow(t)
		row[i] = struct{}{}
		_, err := scanUser(row)
		var refused *domain.Error
		if !errors.As(err, &refused) || refused.Field != column {
			t.Errorf("%s: %v", column, err)
		}
	}
}

// FuzzPlainStrings holds the short way to read a list against encoding/json.
func FuzzPlainStrings(f *testing.F) {
	for _, seed := range []string{
		`[]`, `["a"]`, `["a", "b"]`, `["a","b"]`, `["a",]`, `["a" "b"]`, `["a\"b"]`, `["a\u0000"]`, "[\"a\n\"]", `["é", "` + "\xff" + `"]`, `["a"]x`, `[1]`, `null`, `["a"`, `["", ""]`, ``, `[ "a"]`, `["a" ]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, array string) {
		got, ok := plainStrings(array)
		if !ok {
			return // read by encoding/json
		}
		var want []string
		if err := json.Unmarshal([]byte(array), &want); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q, %v", array, got, want, err)
		}
	})
}
