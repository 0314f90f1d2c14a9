package main

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/softbee/accounts/domain"
)

// form is what was typed, and what is wrong with it: by the name of an input or, for the form as a whole, by "". An error of an input goes on
// where its label ends: "Username" "is taken by another account".
type form struct {
	Values url.Values
	Errors map[string]string
}

func readForm(r *http.Request) (form, error) {
	if err := r.ParseForm(); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return form{}, err
		}
		return form{}, &domain.Error{Kind: domain.ErrInvalid, Field: "form", Reason: "cannot be read"}
	}
	return form{Values: r.PostForm, Errors: map[string]string{}}, nil
}

// Get returns what was typed into an input.
func (f form) Get(name string) string { return f.Values.Get(name) }

// OK tells whether nothing is wrong.
func (f form) OK() bool { return len(f.Errors) == 0 }

// note writes down that a value was refused, beside its input. It returns every other error.
func (f form) note(err error) error {
	refused, ok := errors.AsType[*domain.Error](err)
	if !ok || refused.Kind != domain.ErrInvalid && refused.Kind != domain.ErrTaken {
		return err
	}
	field := refused.Field
	if field == "pending_email" {
		field = "email"
	}
	f.Errors[field] = refused.Reason
	return nil
}

// input is what the template of an input gets.
type input struct{ Name, Label, Type, Autocomplete, Hint, Value, Error string }

func newInput(f form, name, label, kind, autocomplete, hint string) input {
	i := input{name, label, kind, autocomplete, hint, f.Get(name), f.Errors[name]}
	if kind == "password" {
		i.Value = ""
	}
	return i
}

// part is a page with something of its own for a template that pages share.
type part struct {
	Page page
	Item any
}

func newPart(p page, item any) part { return part{p, item} }
