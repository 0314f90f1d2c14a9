package infra

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/identity"
)

// LinkMany links identities to accounts as LinkIdentity does, some thousand at a time, at a fraction of the cost. One that has a CreatedAt or a
// LastUsedAt keeps it, as in a copy of another database. For each it returns nil, also where it is linked to that account already, which
// stays as it is; [domain.ErrTaken] on the field "identity" where it is another account's; [domain.ErrNotFound]; or
// [domain.ErrInvalid].
//
// The error beside them is for what concerns all; then any number of them may be linked, and a second call with the same goes on.
func (r *repository) LinkMany(ctx context.Context, links []domain.LinkedIdentity) ([]error, error) {
	refusals := make([]error, len(links))
	return refusals, r.linkMany(ctx, links, refusals)
}

func (r *repository) linkMany(ctx context.Context, links []domain.LinkedIdentity, refusals []error) error {
	const op = "link identities"
	if len(links) == 0 {
		return nil
	}
	err := r.nested(ctx, func(tx *Tx) error {
		clear(refusals) // of an attempt that is repeated
		return tx.linkAtOnce(ctx, op, links, refusals)
	})
	if isOfHook(err) || !errors.Is(err, domain.ErrInvalid) && !errors.Is(err, domain.ErrReferenced) && !errors.Is(err, domain.ErrNotFound) {
		return err
	}
	// A check, or an account that is not there, fails the statement as a whole. Halves find the link that it is about.
	clear(refusals)
	if len(links) == 1 {
		if !errors.Is(err, domain.ErrInvalid) {
			err = wrap(op, notFound())
		}
		refusals[0] = err
		return nil
	}
	half := len(links) / 2
	if err := r.linkMany(ctx, links[:half], refusals[:half]); err != nil {
		return err
	}
	return r.linkMany(ctx, links[half:], refusals[half:])
}

func (t *Tx) linkAtOnce(ctx context.Context, op string, links []domain.LinkedIdentity, refusals []error) error {
	now := t.present()
	row := func(link domain.LinkedIdentity) []any {
		createdAt := domain.StoredTime(link.CreatedAt)
		if link.CreatedAt.IsZero() {
			createdAt = now
		}
		return t.dialect.values([]any{
			link.UserID.String(), link.Identity.Issuer(), link.Identity.Subject(), createdAt, orNull(domain.StoredTime(link.LastUsedAt)),
		})
	}
	insert := func(links ...domain.LinkedIdentity) (int64, error) {
		names := []string{identity.FieldUserID, identity.FieldIssuer, identity.FieldSubject, identity.FieldCreatedAt, identity.FieldLastUsedAt}
		return t.insertRows(ctx, op, t.dialect.table(t.schema, identitiesTable), names, func(yield func([]any, error) bool) {
			for _, link := range links {
				if !yield(row(link), nil) {
					return
				}
			}
		}, " ON CONFLICT DO NOTHING")
	}
	// In the order of identities, so that two calls wait for each other instead of ending in a deadlock. Of equal ones the first is linked.
	sorted := slices.SortedStableFunc(slices.Values(links), func(a, b domain.LinkedIdentity) int {
		return cmp.Or(strings.Compare(a.Identity.Issuer(), b.Identity.Issuer()), strings.Compare(a.Identity.Subject(), b.Identity.Subject()))
	})
	n, err := t.linkEach(ctx, op, sorted, insert)
	if err != nil || n == int64(len(links)) {
		return err
	}
	if n == 0 {
		if err := t.awaitStandby(ctx, op); err != nil {
			return err
		}
	}
	held, err := t.linksOf(ctx, op, links)
	if err != nil {
		return err
	}
	for i, link := range links {
		if !held[domain.LinkedIdentity{UserID: link.UserID, Identity: link.Identity}] {
			refusals[i] = wrap(op, collision("identities_issuer_subject_key"))
		}
	}
	return nil
}

// linkEach inserts all at once; one after the other, and with the event of each that was stored, where a hook wants to know.
func (t *Tx) linkEach(
	ctx context.Context, op string, links []domain.LinkedIdentity, insert func(...domain.LinkedIdentity) (int64, error),
) (stored int64, err error) {
	if !t.listened(linked) {
		return insert(links...)
	}
	for _, link := range links {
		if err := t.lock(ctx, op, link.UserID); err != nil {
			return stored, err
		}
		n, err := insert(link)
		if err != nil {
			return stored, err
		}
		if stored += n; n == 0 {
			continue
		}
		if err := t.notify(ctx, op, linked.kinds[0], link.UserID); err != nil {
			return stored, err
		}
	}
	return stored, nil
}

// linksOf returns which identities the accounts of some links have, without times.
func (t *Tx) linksOf(ctx context.Context, op string, links []domain.LinkedIdentity) (map[domain.LinkedIdentity]bool, error) {
	ids := make([]string, len(links))
	for i, link := range links {
		ids[i] = link.UserID.String()
	}
	found, err := collect(ctx, &t.repository, op, t.texts.linksOf, []any{t.dialect.list(ids)}, scanLink)
	held := make(map[domain.LinkedIdentity]bool, len(found))
	for _, link := range found {
		held[domain.LinkedIdentity{UserID: link.UserID, Identity: link.Identity}] = true
	}
	return held, err
}
