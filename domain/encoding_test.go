package domain

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/softbee/accounts/domain/entry"
)

// A value object goes through text, JSON and, where it is stored, SQL, and comes back as it was.
type textValue interface {
	comparable
	fmt.Stringer
	IsZero() bool
	encoding.TextMarshaler
	json.Marshaler
}

type textPointer[V any] interface {
	*V
	encoding.TextUnmarshaler
	json.Unmarshaler
}

// roundTrip checks value, and that earlier, another value, is replaced.
func roundTrip[V textValue, P textPointer[V]](t *testing.T, value, earlier V) {
	t.Helper()
	text, err := value.MarshalText()
	back := earlier
	if err != nil || string(text) != value.String() || P(&back).UnmarshalText(text) != nil || back != value {
		t.Errorf("%q as text: %q, %v, and then %q", value, text, err, back)
	}
	type document struct {
		Value   V       `json:"value"`
		Pointer *V      `json:"pointer"`
		Omitted V       `json:"omitted,omitzero"`
		Keys    map[V]V `json:"keys"`
	}
	want := document{Value: value, Pointer: &value, Keys: map[V]V{value: value}}
	raw, err := json.Marshal(want)
	before := earlier
	got := document{Value: earlier, Omitted: earlier, Pointer: &before}
	if e := json.Unmarshal(raw, &got); err != nil || e != nil || got.Value != value || got.Keys[value] != value || got.Omitted != earlier {
		t.Errorf("%q as JSON: %s, %v, and then %+v, %v", value, raw, err, got, e)
	}
	if value.IsZero() {
		if want := `{"value":null,"pointer":null,"keys":{"":null}}`; string(raw) != want {
			t.Errorf("an absent value as JSON: %s, want %s", raw, want)
		}
	} else if got.Pointer == nil || *got.Pointer != value {
		t.Errorf("%q as JSON: %s, and then %v", value, raw, got.Pointer)
	}
	var unescaped bytes.Buffer
	encoder := json.NewEncoder(&unescaped)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil || !value.IsZero() && !strings.Contains(unescaped.String(), value.String()) {
		t.Errorf("%q as JSON without HTML's escapes: %s, %v", value, unescaped.String(), err)
	}

	stored, isStored := any(value).(driver.Valuer)
	scanner, isScanned := any(P(&back)).(sql.Scanner)
	if isStored != isScanned {
		t.Errorf("%T has one of Scan and Value", value)
	}
	if !isStored {
		return
	}
	column, err := stored.Value()
	if err != nil || value.IsZero() != (column == nil) || column != nil && column != value.String() {
		t.Errorf("%q in SQL: %v, %v", value, column, err)
	}
	forms := []any{column}
	if text, ok := column.(string); ok {
		forms = append(forms, []byte(text))
	} else {
		forms = append(forms, "", []byte{})
	}
	for _, form := range forms {
		back = earlier
		if err := scanner.Scan(form); err != nil || back != value {
			t.Errorf("%q scanned from %#v: %q, %v", value, form, back, err)
		}
	}
}

// refusals checks that what cannot be a value is refused and leaves the earlier one.
func refusals[V textValue, P textPointer[V]](t *testing.T, field string, earlier V, malformed ...string) {
	t.Helper()
	refuses := func(what, form string, read func(P) error) {
		t.Helper()
		back := earlier
		err := read(&back)
		refusal(t, err, ErrInvalid, field, form)
		if back != earlier {
			t.Errorf("%s %q: an error and %q", what, form, back)
		}
	}
	for _, text := range malformed {
		refuses("text", text, func(p P) error { return p.UnmarshalText([]byte(text)) })
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		refuses("JSON", string(quoted), func(p P) error { return p.UnmarshalJSON(quoted) })
	}
	for _, raw := range []string{`1`, `true`, `{}`, `["a"]`, `"a`, ``} {
		refuses("JSON", raw, func(p P) error { return p.UnmarshalJSON([]byte(raw)) })
	}
	for _, stored := range []any{int64(1), true, 1.5, time.Now()} {
		refuses("SQL", fmt.Sprint(stored), func(p P) error {
			scanner, ok := any(p).(sql.Scanner)
			if !ok {
				return invalid(field, "is not stored")
			}
			return scanner.Scan(stored)
		})
	}
}

func TestValueObjectsGoThroughTextJSONAndSQL(t *testing.T) {
	// Random texts of characters that matter to one type or another; those that are accepted are tried.
	alphabet := []rune("abzAZ09.-_+&<>'@ éÉüßñΣ例ａ\u0301")
	random := func(n int) string {
		text := make([]rune, n)
		for i := range text {
			text[i] = alphabet[rand.IntN(len(alphabet))]
		}
		return string(text)
	}
	accepted := make(map[string]int)
	var email Email
	var username Username
	var phone Phone
	for range 5_000 {
		if next, err := ParseEmail(random(1+rand.IntN(6)) + "@" + random(1+rand.IntN(6))); err == nil {
			roundTrip(t, next, email)
			email, accepted["email"] = next, accepted["email"]+1
		}
		if next, err := ParseUsername(random(3 + rand.IntN(6))); err == nil {
			roundTrip(t, next, username)
			username, accepted["username"] = next, accepted["username"]+1
		}
	}
	for range 200 {
		next, err := ParsePhone(fmt.Sprintf("+%d", 1_000_000+rand.Int64N(999_999_999_999_999-1_000_000)))
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, next, phone)
		phone = next
		roundTrip(t, NewID(), NewID())
		token := NewID()
		issue := issueToken(t, token, tokenTime, SessionPolicy{})
		roundTrip(t, issue.SessionID(), SessionID{})
		user := restored(t, UserState{ID: token, Email: email, Username: username, CreatedAt: StoredTime(tokenTime)})
		for _, order := range Orders {
			roundTrip(t, ListQuery{Order: order}.CursorAfter(user), Cursor{})
		}
	}
	if accepted["email"] < 100 || accepted["username"] < 100 {
		t.Errorf("too few of the random texts were accepted: %v", accepted)
	}
	roundTrip(t, Email{}, email)
	roundTrip(t, Username{}, username)
	roundTrip(t, Phone{}, phone)
	roundTrip(t, ID{}, NewID())
	roundTrip(t, SessionID{}, SessionID{strings.Repeat("a", entry.SessionLen)})
	roundTrip(t, Cursor{}, ListQuery{Order: OrderEmail}.CursorAfter(restored(t, fullState(t))))

	refusals(t, "email", email, "a", "a@", "a@b\x00", strings.Repeat("a", 1<<16))
	refusals(t, "username", username, "ab", "a b", "a@b", NewID().String())
	refusals(t, "phone", phone, "123", "+0", "+5730011122334455667788")
	refusals(t, "id", NewID(), "a", uuid.Nil.String(), "{"+NewID().String()+"}")
	refusals(t, "session", SessionID{strings.Repeat("a", entry.SessionLen)}, "a", strings.Repeat("!", entry.SessionLen))
	refusals(t, "after", Cursor{}, "a", "!")
}

// What a form from outside is mapped to; a stored text is taken as it is.
func TestTextIsParsedAndSQLIsRestored(t *testing.T) {
	var form struct {
		Email    Email
		Username Username
		Phone    Phone
		ID       ID
	}
	if err := json.Unmarshal([]byte(`{"Email":" Ana@MÜLLER.example","Username":"ANA","Phone":"+57 300 111-2233","ID":"6BA7B810-9DAD-11D1-80B4-00C04FD430C8"}`), &form); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(form); got != "{ana@xn--mller-kva.example ana +573001112233 6ba7b810-9dad-11d1-80b4-00c04fd430c8}" {
		t.Error(got)
	}
	if err := form.Email.Scan("Old@X"); err != nil || form.Email != (Email{"Old@X"}) {
		t.Errorf("an old address: %q, %v", form.Email, err)
	}
	if err := form.Username.Scan("x y"); err != nil || form.Username != (Username{"x y"}) {
		t.Errorf("an old name: %q, %v", form.Username, err)
	}
	if err := form.Phone.Scan("3001112233"); err != nil || form.Phone != (Phone{"3001112233"}) {
		t.Errorf("an old number: %q, %v", form.Phone, err)
	}
	id := NewID()
	raw := id.UUID()
	if err := form.ID.Scan(raw[:]); err != nil || form.ID != id {
		t.Errorf("an ID in 16 bytes: %q, %v", form.ID, err)
	}
	for _, absent := range []any{make([]byte, 16), uuid.Nil.String(), nil} {
		form.ID = id
		if err := form.ID.Scan(absent); err != nil || !form.ID.IsZero() {
			t.Errorf("the nil UUID as %#v: %q, %v", absent, form.ID, err)
		}
	}
}

// Secrets, and all that holds them, by every way of printing that Go has.
func TestSecretsAreNeitherPrintedNorBound(t *testing.T) {
	s := fullState(t)
	issue := issueToken(t, s.ID, tokenTime, SessionPolicy{})
	oneTime := NewOneTimeToken()
	secrets := []string{
		s.PasswordHash.Stored(), s.ResetToken.Stored(), s.VerificationToken.Stored(),
		strings.Split(s.Sessions[0], ".")[2], oneTime.Reveal(), oneTime.Digest().Stored(), issue.Reveal(), issue.Digest(),
	}
	type unexported struct {
		hash    PasswordHash
		oneTime OneTimeToken
		digest  TokenDigest
		token   RefreshToken
	}
	holders := []any{
		unexported{s.PasswordHash, oneTime, oneTime.Digest(), issue}, &unexported{s.PasswordHash, oneTime, oneTime.Digest(), issue},
		s.PasswordHash, s.ResetToken, s.Sessions, s, restored(t, s), *restored(t, s), oneTime, oneTime.Digest(), issue,
		Grant{UserID: s.ID, Session: issue.Session(), Token: issue}, Registration{PasswordHash: s.PasswordHash},
	}
	for _, holder := range holders {
		for _, value := range []any{holder, &holder, []any{holder}, map[string]any{"a": holder}, struct{ Held any }{holder}} {
			var printed strings.Builder
			for _, verb := range "vsqdxXtf" {
				for _, flag := range []string{"", "+", "#", "+#", " ", "0"} {
					fmt.Fprintf(&printed, "%"+flag+string(verb)+"\n", value)
				}
			}
			raw, err := json.Marshal(value)
			if err != nil {
				t.Errorf("%T as JSON: %v", value, err)
			}
			printed.Write(raw)
			slog.New(slog.NewJSONHandler(&printed, nil)).Info("holder", "held", value)
			slog.New(slog.NewTextHandler(&printed, nil)).Info("holder", "held", value)
			for _, secret := range secrets {
				hexed := fmt.Sprintf("%x", secret)
				if strings.Contains(printed.String(), secret) || strings.Contains(strings.ToLower(printed.String()), hexed) {
					t.Errorf("%T tells %q:\n%s", value, secret, printed.String())
				}
			}
		}
	}
	for _, secret := range []any{s.PasswordHash, s.ResetToken, oneTime, issue} {
		value, err := driver.DefaultParameterConverter.ConvertValue(secret)
		if KindOf(err) != ErrInvalid || value != nil {
			t.Errorf("%T as an argument of SQL: %v, %v", secret, value, err)
		}
		if err := json.Unmarshal([]byte(`"[redacted]"`), &secret); err == nil && fmt.Sprintf("%T", secret) != "string" {
			t.Errorf("%T was read from JSON", secret)
		}
	}
}

func TestUserAsJSONIsItsPublicState(t *testing.T) {
	s := fullState(t)
	s.ID = IDFromUUID(uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"))
	s.FirstName = "Ana <A&B>"
	s.CreatedAt = s.CreatedAt.In(time.FixedZone("", -5*3600))
	s.Sessions, _ = mustIssue(t, nil, s.ID, time.Now(), SessionPolicy{})
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(restored(t, s)); err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","email":"ana@x.org","pending_email":"next@x.org","username":"ana","first_name":"Ana <A&B>",` +
		`"last_name":"Roa","phone":"+573001112233","is_active":true,"is_verified":true,"has_password":true,"last_login":"2026-03-01T11:01:00.123456Z",` +
		`"sessions":1,"failed_login_attempts":3,"locked_until":"2026-03-01T12:00:00.123456Z",` +
		`"created_at":"2026-03-01T11:00:00.123456Z","updated_at":"2026-03-01T11:00:00.123456Z","version":1}` + "\n"
	if raw.String() != want {
		t.Errorf("%s, want\n%s", raw.String(), want)
	}
	s.PasswordHash = NoPassword()
	if raw, err := json.Marshal(restored(t, s)); err != nil || !strings.Contains(string(raw), `"has_password":false,`) {
		t.Errorf("%s, %v", raw, err)
	}
	minimal, err := json.Marshal(restored(t, UserState{ID: s.ID, Email: s.Email, Username: s.Username}))
	if err != nil || !strings.Contains(string(minimal), `"first_name":null,"last_name":null,"phone":null,`) ||
		!strings.Contains(string(minimal), `"last_login":null,"sessions":0,"failed_login_attempts":0,"locked_until":null,`) {
		t.Errorf("%s, %v", minimal, err)
	}
}
