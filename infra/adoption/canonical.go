package adoption

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/softbee/accounts/domain"
)

// Kinds of problems. The first three need a rule; the others are reported and dealt with.
const (
	invalid   = "invalid"   // an address or a username that is none, or is missing
	collision = "collision" // another account has the same address or username, or telephone number
	reference = "reference" // rows of other tables refer to an account that is to be quarantined

	canonicalised    = "canonicalised"     // written in canonical form
	short            = "short"             // a username shorter than today's rule; kept
	generated        = "generated"         // a username was made up
	unknownHash      = "unknown_hash"      // nothing can verify it: no sign-in until the password is reset
	noPassword       = "no_password"       // likewise
	notInternational = "not_international" // a telephone number that is not E.164; kept as it is
	tooLong          = "too_long"          // cut
	dropped          = "dropped"           // a value that cannot be kept
	null             = "null"              // became the default
	outOfRange       = "out_of_range"      // a time or a counter; became the default, or the nearest
	notAList         = "not_a_list"        // JSON that is not a list of tokens; became an empty one
	tokenDropped     = "token_dropped"     // a token that was stored as handed out
)

// Problem is something to report of a row. It holds no hash and no token.
type Problem struct {
	Row     string `json:"row"` // the table's key
	Field   string `json:"field"`
	Kind    string `json:"problem"`
	Detail  string `json:"detail,omitempty"`
	Value   string `json:"value,omitempty"`   // that is stored
	Becomes string `json:"becomes,omitempty"` // and what of it is kept
	With    string `json:"with,omitempty"`    // the row that is kept instead
	Outcome string `json:"outcome"`
}

// Outcomes.
const (
	kept        = "kept"
	quarantined = "quarantined"
	blocks      = "blocks" // the adoption, until there is a rule
)

// Routine tells whether the account loses nothing that it had. Such problems are many.
func (p Problem) Routine() bool {
	switch p.Kind {
	case canonicalised, null, tokenDropped, notAList:
		return p.Outcome == kept
	}
	return false
}

// record is a row of the staging table: what a row becomes. Absent texts are nil.
type record struct {
	OldID     string            `json:"old_id"`
	Xmin      string            `json:"source_xmin"`
	ID        uuid.UUID         `json:"id"`
	Email     *string           `json:"email"`
	Username  *string           `json:"username"`
	Phone     *string           `json:"phone"`
	FirstName *string           `json:"first_name"`
	LastName  *string           `json:"last_name"`
	Hash      *string           `json:"hash"` // in place of the one that is stored
	CreatedAt *string           `json:"created_at"`
	Problems  []Problem         `json:"problems"`
	Original  map[string]string `json:"original,omitempty"` // values that were replaced by others
	Fault     *string           `json:"fault"`              // the field for which the row cannot be kept
}

// texts are a row's, as stored.
type texts struct{ email, username, hash, phone, first, last *string }

// maxShown bounds a value in a report, in code points.
const maxShown = 300

func (r *record) report(field, kind, detail string, value, becomes *string) {
	r.Problems = append(r.Problems, Problem{
		Field: field, Kind: kind, Detail: detail, Value: shown(value), Becomes: shown(becomes), Outcome: kept,
	})
}

func shown(value *string) string {
	if value == nil {
		return ""
	}
	if utf8.RuneCountInString(*value) > maxShown {
		return string([]rune(*value)[:maxShown]) + "…"
	}
	return *value
}

// replaced notes the value of which something else is kept.
func (r *record) replaced(field string, value *string) {
	if value == nil {
		return
	}
	if r.Original == nil {
		r.Original = make(map[string]string)
	}
	r.Original[field] = *value
}

// canonicalise works out what a row's texts become.
func (a *Adoption) canonicalise(r *record, row texts) error {
	r.Problems = []Problem{}
	r.email(row.email)
	r.username(row.username, a.source.Columns["username"].Generate)
	if err := r.hash(row.hash, a.options.Hasher); err != nil {
		return err
	}
	r.phone(row.phone)
	r.FirstName = r.name("first_name", row.first, 50, func(text string) (string, error) {
		names, err := domain.ParseNames(text, "")
		return names.First, err
	})
	r.LastName = r.name("last_name", row.last, 100, func(text string) (string, error) {
		names, err := domain.ParseNames("", text)
		return names.Last, err
	})
	return nil
}

func (r *record) reject(field, kind, detail string, value *string) {
	r.report(field, kind, detail, value, nil)
	if r.Fault == nil {
		r.Fault = &field
	}
}

// checkID rejects the nil UUID, which stands for no account.
func (r *record) checkID() {
	if r.ID == uuid.Nil {
		r.reject("id", invalid, "is the nil UUID", &r.OldID)
	}
}

func (r *record) email(stored *string) {
	const field = "email"
	if stored == nil {
		r.reject(field, invalid, "is missing", nil)
		return
	}
	email, err := domain.ParseEmail(*stored)
	if err != nil {
		r.reject(field, invalid, reasonOf(err), stored)
		return
	}
	r.Email = r.canonical(field, stored, email.String())
}

// canonical returns the form that is kept and, if it is another than the stored one, tells so.
func (r *record) canonical(field string, stored *string, form string) *string {
	if form != *stored {
		r.report(field, canonicalised, "", stored, &form)
		r.replaced(field, stored)
	}
	return &form
}

func (r *record) username(stored *string, generate bool) {
	const field = "username"
	var reason string
	if stored == nil || strings.TrimSpace(*stored) == "" {
		reason = "is missing"
	} else {
		username, err := domain.LookupUsername(*stored)
		if err == nil {
			r.Username = r.canonical(field, stored, username.String())
			if _, err := domain.ParseUsername(*stored); err != nil {
				r.report(field, short, "a new account could not have it", stored, nil)
			}
			return
		}
		reason = reasonOf(err)
	}
	if !generate {
		r.reject(field, invalid, reason, stored)
		return
	}
	name := "user-" + hex.EncodeToString(r.ID[:8])
	r.Username = &name
	r.report(field, generated, reason, stored, &name)
	r.replaced(field, stored)
}

func (r *record) hash(stored *string, hasher domain.PasswordHasher) error {
	const field = "hashed_password"
	mark := domain.NoPassword().Stored()
	if stored == nil || *stored == "" {
		r.report(field, noPassword, "no sign-in until it is reset", nil, nil)
		r.Hash = &mark
		return nil
	}
	hash, err := domain.ParsePasswordHash(*stored)
	if err != nil {
		r.report(field, unknownHash, reasonOf(err)+"; no sign-in until it is reset", nil, nil)
		r.replaced(field, stored)
		r.Hash = &mark
		return nil
	}
	if !hash.HasPassword() {
		r.report(field, noPassword, "no sign-in until it is reset", nil, nil)
		if *stored != mark {
			r.Hash = &mark
		}
		return nil
	}
	// A hash that can be verified waits for its turn, which an ended context does not get.
	_, err = hasher.Verify(ended, hash, "")
	var refusal *domain.Error
	if errors.As(err, &refusal) && refusal.Field == field {
		r.report(field, unknownHash, refusal.Reason+"; no sign-in until it is reset", nil, nil)
	}
	return nil
}

var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// maxPhoneRunes is the column's width.
const maxPhoneRunes = 20

func (r *record) phone(stored *string) {
	const field = "phone"
	if stored == nil || strings.TrimSpace(*stored) == "" {
		r.replaced(field, stored)
		return
	}
	if phone, err := domain.ParsePhone(*stored); err == nil {
		r.Phone = r.canonical(field, stored, phone.String())
		return
	}
	form := norm.NFC.String(strings.TrimSpace(*stored))
	if utf8.RuneCountInString(form) > maxPhoneRunes {
		r.report(field, dropped, "is longer than 20 characters", stored, nil)
		r.replaced(field, stored)
		return
	}
	r.Phone = &form
	if form != *stored {
		r.replaced(field, stored)
	}
	r.report(field, notInternational, "", stored, nil)
}

// name returns a first or last name without what cannot be kept of it.
func (r *record) name(field string, stored *string, width int, parse func(string) (string, error)) *string {
	if stored == nil {
		return nil
	}
	name, err := parse(*stored)
	if err != nil {
		clean := strings.TrimSpace(norm.NFC.String(strings.Map(printable, *stored)))
		if utf8.RuneCountInString(clean) > width {
			clean = string([]rune(clean)[:width])
		}
		name, err = parse(clean)
		if err != nil {
			name = ""
		}
		r.report(field, tooLong, "or has control characters", stored, &name)
		r.replaced(field, stored)
	} else if name != *stored {
		r.replaced(field, stored)
	}
	if name == "" {
		return nil
	}
	return &name
}

func printable(r rune) rune {
	if unicode.IsControl(r) {
		return -1
	}
	return r
}

// remark adds what SQL noted: "field problem detail", by commas.
func (r *record) remark(notes string) {
	if notes == "" {
		return
	}
	for _, note := range strings.Split(notes, ",") {
		field, rest, _ := strings.Cut(note, " ")
		kind, detail, _ := strings.Cut(rest, " ")
		r.report(field, kind, detail, nil, nil)
	}
}

func reasonOf(err error) string {
	var refusal *domain.Error
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return "is not valid"
}

func decodeProblems(text string) ([]Problem, error) {
	var problems []Problem
	err := json.Unmarshal([]byte(text), &problems)
	return problems, err
}
