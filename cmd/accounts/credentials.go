package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/password"
)

// newHasher returns a hasher of the recommended policy. It is a variable for the tests, which would spend most of their time in hashes.
var newHasher = func() (*password.Hasher, error) { return password.New(password.Policy{}) }

// newAuthenticator returns the rules of signing in over the store, with hashes of the recommended cost.
func newAuthenticator(store *infra.Store, lock domain.LockPolicy) (*domain.Authenticator, error) {
	hasher, err := newHasher()
	if err != nil {
		return nil, err
	}
	return domain.NewAuthenticator(store, hasher, domain.AuthenticationPolicy{Lock: lock})
}

// withAuthenticator is withStore for the commands about credentials.
func (p *program) withAuthenticator(
	ctx context.Context, lock domain.LockPolicy, work func(*infra.Store, *domain.Authenticator) error,
) error {
	return p.withStore(ctx, func(store *infra.Store) error {
		authenticator, err := newAuthenticator(store, lock)
		if err != nil {
			return err
		}
		return work(store, authenticator)
	})
}

func addPasswordStdin(c *cobra.Command, fromStdin *bool) {
	c.Flags().BoolVar(fromStdin, "password-stdin", false, "read the password from standard input: one line, without its end")
}

func (p *program) userLoginCommand() *cobra.Command {
	var lock domain.LockPolicy
	var passwordStdin bool
	const example = `accounts user login ann
accounts user login ann@example.org --password-stdin --max-failures 3 --lock-for 1h <password.txt`
	c := p.command("login REF", "Check a password, count failures and record the sign-in", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if err := cmp.Or(positive("attempts", lock.Attempts), positive("lock_for", lock.Duration)); err != nil {
				return err
			}
			if _, err := lock.Resolve(); err != nil {
				return err
			}
			password, err := p.password(ctx, passwordStdin)
			if err != nil {
				return err
			}
			return p.withAuthenticator(ctx, lock, func(store *infra.Store, authenticator *domain.Authenticator) error {
				identifier, err := signInName(ctx, store, args[0])
				if err != nil {
					return err
				}
				user, err := authenticator.Authenticate(ctx, identifier, password)
				if err != nil {
					return err
				}
				return p.printUser(user)
			})
		})
	c.Flags().IntVar(&lock.Attempts, "max-failures", domain.DefaultLockAttempts, "failures in a row that lock the account, 1 to 100")
	c.Flags().DurationVar(&lock.Duration, "lock-for", domain.DefaultLockDuration, "how long the lock lasts")
	addPasswordStdin(c, &passwordStdin)
	return c
}

// signInName returns the address of the account whose id ref is. Everything else is left as it is: whether such an account
// exists is for the sign-in to say, or rather not to say.
func signInName(ctx context.Context, store *infra.Store, ref string) (string, error) {
	if id, ok := refID(ref); ok {
		user, err := store.FindByID(ctx, id)
		if err == nil {
			return user.Email().String(), nil
		}
		if !errors.Is(err, domain.ErrNotFound) {
			return "", err
		}
	}
	return ref, nil
}

func (p *program) userSetPasswordCommand() *cobra.Command {
	var passwordStdin bool
	const example = `accounts user set-password ann
accounts user set-password ann --password-stdin <password.txt`
	c := p.command("set-password REF", "Set another password, as an administrator; all sessions end", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			password, err := p.newPassword(ctx, passwordStdin)
			if err != nil {
				return err
			}
			return p.withAuthenticator(ctx, domain.LockPolicy{}, func(store *infra.Store, authenticator *domain.Authenticator) error {
				id, err := findID(ctx, store, args[0])
				if err != nil {
					return err
				}
				user, err := authenticator.SetPassword(ctx, id, password)
				if err != nil {
					return err
				}
				return p.printUser(user)
			})
		})
	addPasswordStdin(c, &passwordStdin)
	return c
}

func (p *program) userResetTokenCommand() *cobra.Command {
	const example = `accounts --json user reset-token ann --ttl 1h`
	return p.oneTimeTokenCommand("reset-token REF", "Print a token with which the password can be reset once", example,
		domain.DefaultResetTTL, (*domain.Authenticator).IssueReset)
}

func (p *program) userVerifyTokenCommand() *cobra.Command {
	const example = `accounts --json user verify-token ann --ttl 1h`
	return p.oneTimeTokenCommand("verify-token REF", "Print a token with which the pending e-mail address, or else the present one, can be confirmed once", example,
		domain.DefaultVerificationTTL, (*domain.Authenticator).IssueVerification)
}

func (p *program) oneTimeTokenCommand(
	use, short, example string, defaultTTL time.Duration,
	issue func(*domain.Authenticator, context.Context, domain.ID, time.Duration) (domain.IssuedToken, error),
) *cobra.Command {
	var ttl time.Duration
	c := p.command(use, short, example, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if err := positive("ttl", ttl); err != nil {
			return err
		}
		return p.withAuthenticator(ctx, domain.LockPolicy{}, func(store *infra.Store, authenticator *domain.Authenticator) error {
			id, err := findID(ctx, store, args[0])
			if err != nil {
				return err
			}
			issued, err := issue(authenticator, ctx, id, ttl)
			if err != nil {
				return err
			}
			return p.print(issuedRecord(issued))
		})
	})
	c.Flags().DurationVar(&ttl, "ttl", defaultTTL, "how long the token is good, up to 168h")
	return c
}

// issuedRecord is a one-time token with the address to send it to.
func issuedRecord(issued domain.IssuedToken) record {
	return record{{"token", issued.Token.Reveal()}, {"email", issued.Email}, {"expires_at", issued.ExpiresAt}}
}

func (p *program) userResetCommand() *cobra.Command {
	var tokenFile string
	var passwordStdin bool
	const example = `accounts user reset
accounts user reset --password-stdin --token-file token.txt <password.txt`
	c := p.command("reset", "Set another password with a reset token; all sessions end", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			text, password, err := p.tokenAndPassword(ctx, tokenFile, passwordStdin)
			if err != nil {
				return err
			}
			token, err := domain.ParseOneTimeToken(text)
			if err != nil {
				return err
			}
			return p.withAuthenticator(ctx, domain.LockPolicy{}, func(_ *infra.Store, authenticator *domain.Authenticator) error {
				user, err := authenticator.Reset(ctx, token, password)
				if err != nil {
					return err
				}
				return p.printUser(user)
			})
		})
	c.Flags().StringVar(&tokenFile, "token-file", "", "read the token from the first line of this `FILE`, not from standard input")
	must(c.MarkFlagFilename("token-file"))
	addPasswordStdin(c, &passwordStdin)
	return c
}

// tokenAndPassword returns what a reset needs. Where both come from standard input, the token is on the first line and the
// password on the second.
func (p *program) tokenAndPassword(ctx context.Context, tokenFile string, passwordStdin bool) (token, password string, err error) {
	switch {
	case tokenFile != "":
		token, err = firstLine(tokenFile)
	case p.terminal == nil && !passwordStdin:
		return "", "", errNoTerminal
	default:
		token, err = p.token(ctx)
	}
	if err != nil {
		return "", "", err
	}
	password, err = p.newPassword(ctx, passwordStdin)
	if errors.Is(err, errNoPassword) && tokenFile == "" && p.terminal == nil {
		err = usageError{"standard input holds one line: pass the token with --token-file, or on the line before the password"}
	}
	return token, password, err
}

func firstLine(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", invalid("token_file", "cannot be opened: "+systemReason(err))
	}
	line, err := readLine(bufio.NewReader(f))
	return line, errors.Join(err, f.Close())
}

func (p *program) userConfirmCommand() *cobra.Command {
	const example = `accounts user confirm <token.txt`
	return p.command("confirm", "Confirm an e-mail address with a verification token, from standard input", example, cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			text, err := p.token(ctx)
			if err != nil {
				return err
			}
			token, err := domain.ParseOneTimeToken(text)
			if err != nil {
				return err
			}
			return p.withAuthenticator(ctx, domain.LockPolicy{}, func(_ *infra.Store, authenticator *domain.Authenticator) error {
				confirmed, err := authenticator.ConfirmEmail(ctx, token)
				if err != nil {
					return err
				}
				if confirmed.Already && !p.json {
					_, _ = fmt.Fprintln(p.messages, confirmed.Email, "was confirmed before.")
				}
				return p.printUser(confirmed.User)
			})
		})
}

func (p *program) userLockCommand() *cobra.Command {
	var duration time.Duration
	const example = `accounts user lock ann --for 24h`
	c := p.command("lock REF --for D", "Refuse passwords for some time, as failed sign-ins do", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			if err := positive("for", duration); err != nil {
				return err
			}
			return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
				return store.LockUntil(ctx, id, time.Now().Add(duration))
			})
		})
	c.Flags().DurationVar(&duration, "for", 0, "how long the lock lasts")
	require(c, "for")
	return c
}

// withdrawals are what can be withdrawn that was sent to somebody.
var withdrawals = map[string]func(*infra.Store, context.Context, domain.ID) (*domain.User, error){
	"email":        (*infra.Store).CancelEmail,
	"phone-code":   (*infra.Store).CancelPhoneCode,
	"reset":        (*infra.Store).CancelReset,
	"verification": (*infra.Store).CancelVerification,
}

func (p *program) userCancelCommand() *cobra.Command {
	const example = `accounts user cancel ann reset
accounts --json user cancel ann email`
	names := slices.Sorted(maps.Keys(withdrawals))
	short := "Withdraw what was issued and not yet used: " + strings.Join(names, ", ")
	c := p.command("cancel REF WHAT", short, example, cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error {
			withdraw, ok := withdrawals[args[1]]
			if !ok {
				return usageError{"expected one of " + strings.Join(names, ", ") + ", found " + strconv.Quote(args[1])}
			}
			return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
				return withdraw(store, ctx, id)
			})
		})
	return c
}

func (p *program) userRemovePasswordCommand() *cobra.Command {
	var force bool
	const example = `accounts user remove-password ann`
	c := p.command("remove-password REF", "Leave an account with its linked identities alone; all sessions end", example, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			return p.change(ctx, args[0], func(ctx context.Context, store *infra.Store, id domain.ID) (*domain.User, error) {
				return store.RemovePassword(ctx, id, domain.SessionID{}, force)
			})
		})
	c.Flags().BoolVar(&force, "force", false, "also where it is the last way into the account")
	return c
}
