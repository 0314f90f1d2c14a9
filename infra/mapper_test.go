package infra

import (
	"encoding/json"
	"reflect"
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
		user.FieldPhone:             {"+573001112233", "+573001112234"},
		user.FieldResetToken:        {strings.Repeat("a", 64), strings.Repeat("b", 64)},
		user.FieldVerificationToken: {strings.Repeat("c", 64), strings.Repeat("d", 64)},
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

// rowField returns the field of ent's user that holds a column.
func rowField(t *testing.T, row *ent.User, column string) reflect.Value {
	t.Helper()
	v := reflect.ValueOf(row).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && (name == column || name == "-" && strings.EqualFold(strings.ReplaceAll(column, "_", ""), f.Name)) {
			return v.Field(i)
		}
	}
	t.Fatalf("ent's user has no field for column %s", column)
	return reflect.Value{}
}

func sampleRow(t *testing.T) *ent.User {
	t.Helper()
	row := &ent.User{}
	for _, column := range user.Columns {
		f := rowField(t, row, column)
		f.Set(sample(t, f.Type(), column, 0))
	}
	return row
}

func TestEveryStoredFieldReachesTheEntity(t *testing.T) {
	base, err := toDomain(sampleRow(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range user.Columns {
		row := sampleRow(t)
		f := rowField(t, row, column)
		f.Set(sample(t, f.Type(), column, 1))
		changed, err := toDomain(row)
		if err != nil {
			t.Fatalf("%s: %v", column, err)
		}
		if reflect.DeepEqual(base.State(), changed.State()) {
			t.Errorf("column %s does not reach the entity: it is missing in toDomain", column)
		}
	}
}

func TestEveryFieldOfTheEntityIsStored(t *testing.T) {
	client := ent.NewClient()
	write := func(state domain.UserState) map[string]any {
		u, err := domain.RestoreUser(state)
		if err != nil {
			t.Fatal(err)
		}
		m := client.User.Create().Mutation()
		toRow(m, u)
		fields := make(map[string]any)
		for _, name := range m.Fields() {
			fields[name], _ = m.Field(name)
		}
		fields[user.FieldID], _ = m.ID()
		return fields
	}
	base, err := toDomain(sampleRow(t))
	if err != nil {
		t.Fatal(err)
	}
	written := write(base.State())
	for _, column := range user.Columns {
		if _, ok := written[column]; !ok {
			t.Errorf("column %s is never written: it is missing in toRow", column)
		}
	}
	secondRow := &ent.User{}
	for _, column := range user.Columns {
		f := rowField(t, secondRow, column)
		f.Set(sample(t, f.Type(), column, 1))
	}
	second, err := toDomain(secondRow)
	if err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[domain.UserState]().NumField() {
		state := base.State()
		reflect.ValueOf(&state).Elem().Field(i).Set(reflect.ValueOf(second.State()).Field(i))
		if reflect.DeepEqual(written, write(state)) {
			t.Errorf("UserState.%s is not stored: it is missing in toRow", reflect.TypeFor[domain.UserState]().Field(i).Name)
		}
	}
}

// TestRowValuesAreWhatToRowWrites compares the two ways to store an account, with all values present and with as many absent
// as can be.
func TestRowValuesAreWhatToRowWrites(t *testing.T) {
	full, err := toDomain(sampleRow(t))
	if err != nil {
		t.Fatal(err)
	}
	state := full.State()
	least, err := domain.RestoreUser(domain.UserState{ID: state.ID, Email: state.Email, Username: state.Username})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []*domain.User{full, least} {
		m := ent.NewClient().User.Create().Mutation()
		toRow(m, u)
		row, err := rowValues(u)
		if err != nil {
			t.Fatal(err)
		}
		if len(row) != len(user.Columns) {
			t.Fatalf("%d values for %d columns", len(row), len(user.Columns))
		}
		for i, column := range user.Columns {
			var want any
			if written, present := m.Field(column); present {
				want = written
			}
			switch column {
			case user.FieldID:
				want = u.ID().String()
			case user.FieldRefreshTokens:
				list, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				want = string(list)
			}
			if !reflect.DeepEqual(row[i], want) {
				t.Errorf("%s: %#v in rowValues, %#v in toRow", column, row[i], want)
			}
		}
	}
}

func TestAbsentValuesAreStoredAsNull(t *testing.T) {
	base, err := toDomain(sampleRow(t))
	if err != nil {
		t.Fatal(err)
	}
	state := base.State()
	state.FirstName, state.LastName, state.Phone = "", "", domain.Phone{}
	state.LastLogin, state.LockedUntil = time.Time{}, time.Time{}
	state.ResetToken, state.ResetTokenExpiry = domain.TokenDigest{}, time.Time{}
	state.VerificationToken, state.VerificationTokenExpiry = domain.TokenDigest{}, time.Time{}
	u, err := domain.RestoreUser(state)
	if err != nil {
		t.Fatal(err)
	}
	m := ent.NewClient().User.Update().Mutation()
	toRow(m, u)
	for _, column := range []string{
		user.FieldFirstName, user.FieldLastName, user.FieldPhone, user.FieldLastLogin, user.FieldLockedUntil,
		user.FieldResetToken, user.FieldResetTokenExpiry, user.FieldVerificationToken, user.FieldVerificationTokenExpiry,
	} {
		if !m.FieldCleared(column) {
			t.Errorf("%s is not cleared", column)
		}
	}
}
