package infra

import (
	"context"
	"errors"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/identity"
)

// identitiesTable is the table of the identities.
const identitiesTable = identity.Table

// FindByIdentity implements [domain.IdentityStore].
func (r *repository) FindByIdentity(ctx context.Context, who domain.Identity) (*domain.User, error) {
	const op = "find user by identity"
	u, err := r.one(ctx, op, r.texts.findByIdentity, who.Issuer(), who.Subject())
	if err == nil && u == nil {
		return nil, wrap(op, notFound())
	}
	return u, err
}

// Identities implements [domain.IdentityStore].
func (r *repository) Identities(ctx context.Context, id domain.ID) ([]domain.LinkedIdentity, error) {
	const op = "list identities"
	rows, err := collect(ctx, r.reader(), op, r.texts.identities, []any{id.UUID()}, func(rows Rows) (storedLink, error) {
		link := storedLink{LinkedIdentity: domain.LinkedIdentity{UserID: id}}
		var values [4]any
		err := rows.Scan(&values[0], &values[1], &values[2], &values[3])
		if err == nil && values[0] != nil { // NULL in the one row of an account without identities
			link.read(values)
		}
		return link, err
	})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, wrap(op, notFound())
	}
	var links []domain.LinkedIdentity
	var malformed []error
	for _, row := range rows {
		if row.malformed != nil {
			malformed = append(malformed, wrap(op, row.malformed))
		} else if !row.Identity.IsZero() {
			links = append(links, row.LinkedIdentity)
		}
	}
	return links, errors.Join(malformed...)
}

// LinkIdentity implements [domain.IdentityStore].
func (r *repository) LinkIdentity(ctx context.Context, id domain.ID, who domain.Identity) (domain.LinkedIdentity, error) {
	const op = "link identity"
	if who.IsZero() {
		return domain.LinkedIdentity{}, wrap(op, required("identity"))
	}
	link := domain.LinkedIdentity{Identity: who, UserID: id, CreatedAt: r.present()}
	n, err := r.changeRow(ctx, op, linked, id, r.texts.link, who.Issuer(), who.Subject(), link.CreatedAt, id.UUID())
	switch {
	case errors.Is(err, domain.ErrReferenced) && !isOfHook(err), err == nil && n == 0: // the former where it is deleted meanwhile
		return domain.LinkedIdentity{}, wrap(op, notFound())
	case err != nil:
		return domain.LinkedIdentity{}, err
	}
	return link, nil
}

// UnlinkIdentity implements [domain.IdentityStore]. Unless it is forced, it locks the account first: each of two transactions that remove
// one of two ways in would otherwise see the other's.
func (r *repository) UnlinkIdentity(ctx context.Context, id domain.ID, who domain.Identity, force bool) error {
	const op = "unlink identity"
	err := r.unlinkIdentity(ctx, op, id, who, force)
	if errors.Is(err, domain.ErrNotFound) && !isOfHook(err) {
		return r.afterStandby(ctx, op, err)
	}
	return err
}

func (r *repository) unlinkIdentity(ctx context.Context, op string, id domain.ID, who domain.Identity, force bool) error {
	if force {
		n, err := r.changeRow(ctx, op, unlinked, id, r.texts.unlink, who.Issuer(), who.Subject(), id.UUID())
		if err != nil || n > 0 {
			return err
		}
		return r.notLinked(ctx, op, id, who)
	}
	return r.nested(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, op, id); err != nil {
			return err
		}
		n, err := tx.execute(ctx, op, tx.texts.unlinkUnlessLast,
			who.Issuer(), who.Subject(), id.UUID(), id.UUID(), id.UUID(), who.Issuer(), who.Subject())
		switch {
		case err != nil:
			return err
		case n > 0:
			return tx.notify(ctx, op, domain.EventIdentityUnlinked, id)
		}
		return tx.notLinked(ctx, op, id, who)
	})
}

// notLinked says why an identity was not unlinked.
func (r *repository) notLinked(ctx context.Context, op string, id domain.ID, who domain.Identity) error {
	linked, err := r.exists(ctx, op, r.texts.isLinked, who.Issuer(), who.Subject(), id.UUID())
	switch {
	case err != nil:
		return err
	case linked:
		return wrap(op, &domain.Error{Kind: domain.ErrConflict, Field: "identity", Reason: "is the last way into the account"})
	}
	if _, err := r.findByID(ctx, id); err != nil {
		return err
	}
	return wrap(op, &domain.Error{Kind: domain.ErrNotFound, Field: "identity", Reason: "is not linked to the account"})
}

// lock keeps others from changing the account, and from removing ways into it, until the transaction ends.
func (t *Tx) lock(ctx context.Context, op string, id domain.ID) error {
	n, err := t.execute(ctx, op, t.texts.lockAccount, id.UUID())
	if err == nil && n == 0 {
		return wrap(op, notFound())
	}
	return err
}

// RecordIdentitySignIn implements [domain.IdentityStore].
func (r *repository) RecordIdentitySignIn(ctx context.Context, who domain.Identity) (u *domain.User, err error) {
	const op = "record sign-in"
	now := r.present()
	err = r.nested(ctx, func(tx *Tx) error {
		if u, err = tx.one(ctx, op, tx.texts.identitySignIn, now, now, who.Issuer(), who.Subject()); err != nil {
			return err
		}
		if u != nil {
			n, err := tx.execute(ctx, op, tx.texts.identityUsed, now, who.Issuer(), who.Subject())
			if err == nil && n == 0 { // it was unlinked meanwhile
				err = wrap(op, notFound())
			}
			if err != nil {
				return err
			}
			return tx.notify(ctx, op, domain.EventSignedIn, u.ID())
		}
		if _, err := tx.FindByIdentity(ctx, who); err != nil {
			return err
		}
		return wrap(op, inactive())
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// RemovePassword implements [domain.IdentityStore]. It locks the account first, as UnlinkIdentity does.
func (r *repository) RemovePassword(ctx context.Context, id domain.ID, keep domain.SessionID, force bool) (u *domain.User, err error) {
	const op = "remove password"
	err = r.nested(ctx, func(tx *Tx) error {
		if err := tx.lock(ctx, op, id); err != nil {
			return err
		}
		if u, err = tx.FindByID(ctx, id); err != nil || !u.HasPassword() {
			return err
		}
		if !force {
			linked, err := tx.exists(ctx, op, tx.texts.hasIdentity, id.UUID())
			if err != nil {
				return err
			}
			if !linked {
				return wrap(op, &domain.Error{Kind: domain.ErrConflict, Field: "hashed_password", Reason: "is the last way into the account"})
			}
		}
		u, err = tx.setPassword(ctx, op, id, domain.PasswordHash{}, domain.NoPassword(), keep)
		return err
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}
