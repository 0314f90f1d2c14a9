package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
)

// manyStep is how many accounts one statement changes or deletes, so that it holds no lock for long.
const manyStep = 1000

func (p *program) userPurgeCommand() *cobra.Command {
	var unverifiedFor time.Duration
	var limit int
	var yes, dryRun bool
	const example = `accounts user purge --unverified-for 720h --dry-run
accounts user purge --unverified-for 720h --limit 10000 --yes`
	c := p.command("purge --unverified-for D (--yes | --dry-run)", "Delete the accounts whose address has long not been confirmed", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := errors.Join(positive("unverified_for", unverifiedFor), positive("limit", limit)); err != nil {
				return err
			}
			if !yes && !dryRun {
				return usageError{"accounts that were deleted cannot be brought back; add --yes to delete them, or --dry-run to count them"}
			}
			filter := domain.Filter{UnverifiedSince: time.Now().Add(-unverifiedFor)}
			return p.withStore(ctx, func(store *infra.Store) error {
				if !dryRun {
					return p.purge(ctx, store, filter, limit)
				}
				matching, err := store.Count(ctx, filter)
				if err != nil {
					return err
				}
				return p.print(record{{"would_purge", min(matching, limit)}})
			})
		})
	c.Long = `Delete the accounts that were made at least D ago and whose address has not been confirmed for as long, with all that is stored of them.

An account that was edited less than D ago stays: its address may have been another one before. Each is looked at once more in the
statement that deletes it: one that is verified meanwhile stays too, and so does one to which another table refers.`
	c.Flags().DurationVar(&unverifiedFor, "unverified-for", 0, "for how long, `D`, as in 720h")
	c.Flags().IntVar(&limit, "limit", math.MaxInt, "delete at most `N` accounts, the oldest first")
	c.Flags().Lookup("limit").DefValue = "0" // none, for the help
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only count them")
	c.MarkFlagsMutuallyExclusive("yes", "dry-run")
	require(c, "unverified-for")
	return c
}

// purge takes steps until there are no more accounts, or limit are deleted, and prints how many that were, also when it is interrupted.
func (p *program) purge(ctx context.Context, store *infra.Store, filter domain.Filter, limit int) error {
	progress := p.newProgress()
	defer progress.clear()
	expected := 0
	if progress.terminal { // a bar needs to know, which takes a visit to all of them
		matching, err := store.Count(ctx, filter)
		if err != nil {
			return err
		}
		expected = min(matching, limit)
	}
	query := domain.ListQuery{Filter: filter}
	deleted, referenced := 0, 0
	for deleted < limit {
		query.Limit = min(manyStep, limit-deleted)
		step, err := store.Purge(ctx, query)
		if err != nil {
			progress.clear()
			if deleted > 0 {
				err = errors.Join(err, p.print(record{{"purged", deleted}, {"referenced", referenced}}))
			}
			return err
		}
		deleted += len(step.IDs)
		referenced += len(step.Referenced)
		if query.After = step.Next; step.Done {
			break
		}
		progress.show(deleted, expected, fmt.Sprintf("%d accounts deleted", deleted))
	}
	progress.clear()
	return p.print(record{{"purged", deleted}, {"referenced", referenced}})
}

// manyChange changes many accounts.
type manyChange struct {
	change func(*infra.Store, context.Context, []domain.ID) ([]domain.ID, error)
	would  func(*domain.User) bool // whether it would change an account
}

var (
	activateMany   = manyChange{(*infra.Store).ActivateMany, func(u *domain.User) bool { return !u.IsActive() }}
	deactivateMany = manyChange{(*infra.Store).DeactivateMany, func(u *domain.User) bool {
		s := u.State()
		return s.Active || len(s.Sessions) > 0 || !s.PendingEmail.IsZero() || !s.ResetToken.IsZero() || !s.VerificationToken.IsZero() || !s.PhoneCode.IsZero()
	}}
	revokeMany = manyChange{(*infra.Store).RevokeMany, func(u *domain.User) bool { return len(u.State().Sessions) > 0 }}
)

// fromFile are the flags of a command that changes one account, or those that a file names.
type fromFile struct {
	name   string
	dryRun bool
}

func (f *fromFile) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "from", "", "in place of a REF, those in a `FILE`, one in a line; - is standard input")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "with --from: only count what would change")
}

// arguments demands a REF or a file.
func (f *fromFile) arguments(c *cobra.Command, args []string) error {
	switch {
	case f.name != "":
		return cobra.NoArgs(c, args)
	case f.dryRun:
		return errors.New("--dry-run needs --from")
	}
	return cobra.ExactArgs(1)(c, args)
}

// changeMany changes the accounts that the lines of a file name. It says on standard error which it does not find.
func (p *program) changeMany(ctx context.Context, from fromFile, many manyChange) error {
	file, err := p.openImport(from.name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	return p.withStore(ctx, func(store *infra.Store) error {
		unknown := &refusals{name: "standard error", w: p.messages}
		changed, unchanged := 0, 0
		step := func(refs []string, first int) error {
			users, err := findAll(ctx, store, refs, func(place int, err error) error { return unknown.write(first+place, err) })
			if err != nil {
				return err
			}
			var ids []domain.ID
			for _, u := range users {
				if !from.dryRun || many.would(u) {
					ids = append(ids, u.ID())
				}
			}
			if !from.dryRun {
				if ids, err = many.change(store, ctx, ids); err != nil {
					return err
				}
			}
			changed, unchanged = changed+len(ids), unchanged+len(users)-len(ids)
			return nil
		}
		err := eachBatch(file, step)
		file.clearBar()
		counted := "changed"
		if from.dryRun {
			counted = "would_change"
		}
		if err == nil || changed > 0 {
			err = errors.Join(err, p.print(record{{counted, changed}, {"unchanged", unchanged}, {"failed", unknown.count}}))
		}
		if err == nil && unknown.count > 0 {
			err = &domain.Error{Kind: domain.ErrNotFound, Reason: fmt.Sprintf("%d of the accounts were not found; %s says which", unknown.count, unknown.name)}
		}
		return err
	})
}

// eachBatch calls step with up to manyStep lines of a file and the number of the first. An empty line is passed on, to be refused.
func eachBatch(file *importFile, step func(refs []string, first int) error) error {
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	var refs []string
	first := 1
	for lines.Scan() {
		line := lines.Text()
		if first == 1 && len(refs) == 0 {
			var err error
			if line, err = unmarked(line); err != nil {
				return err
			}
		}
		if refs = append(refs, strings.TrimSpace(line)); len(refs) < manyStep {
			continue
		}
		if err := step(refs, first); err != nil {
			return err
		}
		first, refs = first+len(refs), refs[:0]
	}
	if err := lines.Err(); err != nil {
		return invalid("from", "cannot be read: "+systemReason(err))
	}
	if len(refs) == 0 {
		return nil
	}
	return step(refs, first)
}

// findAll returns the accounts that refs name, in at most three round trips, each once. It calls refuse with the place of each ref that names none,
// and why.
func findAll(ctx context.Context, store *infra.Store, refs []string, refuse func(place int, err error) error) ([]*domain.User, error) {
	found := make([]*domain.User, len(refs))
	refused := make([]error, len(refs))
	var ids []domain.ID
	var emails []domain.Email
	var usernames []domain.Username
	var idPlaces, emailPlaces, usernamePlaces []int
	for i, ref := range refs {
		if id, ok := refID(ref); ok {
			ids, idPlaces = append(ids, id), append(idPlaces, i)
		} else if strings.Contains(ref, "@") {
			email, err := domain.ParseEmail(ref)
			if refused[i] = err; err == nil {
				emails, emailPlaces = append(emails, email), append(emailPlaces, i)
			}
		} else {
			username, err := domain.LookupUsername(ref)
			if refused[i] = err; err == nil {
				usernames, usernamePlaces = append(usernames, username), append(usernamePlaces, i)
			}
		}
	}
	var malformed *domain.Malformed
	put := func(places []int) func([]*domain.User, error) error {
		return func(users []*domain.User, err error) error {
			if err != nil && !errors.As(err, &malformed) {
				return err
			}
			for i, u := range users {
				found[places[i]] = u
			}
			return nil
		}
	}
	if err := put(idPlaces)(store.FindByIDs(ctx, ids)); err != nil {
		return nil, err
	}
	if err := put(emailPlaces)(store.FindByEmails(ctx, emails)); err != nil {
		return nil, err
	}
	if err := put(usernamePlaces)(store.FindByUsernames(ctx, usernames)); err != nil {
		return nil, err
	}
	var users []*domain.User
	seen := make(map[domain.ID]bool)
	for i, u := range found {
		switch {
		case u == nil:
			err := refused[i]
			if err == nil && malformed != nil { // it may be this one: its own error says
				_, err = find(ctx, store, refs[i])
			}
			if err == nil {
				err = &domain.Error{Kind: domain.ErrNotFound, Reason: "no such account"}
			}
			if err := refuse(i, err); err != nil {
				return nil, err
			}
		case !seen[u.ID()]:
			users, seen[u.ID()] = append(users, u), true
		}
	}
	return users, nil
}
