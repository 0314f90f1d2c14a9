package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/smtp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/softbee/accounts/domain"
)

// mail is a message to the owner of an address. Its link is made of the configured origin, never of what a request says of its host.
type mail struct {
	To            domain.Email
	Subject, Text string
	Link          string
	At            time.Time
}

// sendBySMTP sends mails by a server of the same machine or network.
func sendBySMTP(server, from string) func(mail) error {
	return func(m mail) error {
		body := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n\r\n%s\r\n",
			from, m.To, m.Subject, m.Text, m.Link)
		return smtp.SendMail(server, nil, from, []string{m.To.String()}, []byte(body))
	}
}

// mailbox takes the mails of the demonstration, and shows them.
type mailbox struct {
	mu    sync.Mutex
	mails []mail // the oldest first
}

const mailboxSize = 100

func (b *mailbox) send(m mail) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, m)
	if n := len(b.mails); n > mailboxSize {
		b.mails = slices.Clone(b.mails[n-mailboxSize:])
	}
	return nil
}

// newestFirst returns the mails.
func (b *mailbox) newestFirst() []mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	mails := slices.Clone(b.mails)
	slices.Reverse(mails)
	return mails
}

func (s *server) mailsPage(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "mails", page{Title: "Mails", Data: s.mailbox.newestFirst()})
}

// later does what a reply must not wait for, because neither its content nor its time may tell whether an account exists.
func (s *server) later(r *http.Request, what string, task func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
	s.tasks.Go(func() {
		defer cancel()
		if err := task(ctx); err != nil {
			s.log.ErrorContext(ctx, what, "error", err.Error())
		}
	})
}

// wait returns when all that was left for later is done, or the error of ctx.
func (s *server) wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.tasks.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("mails and imports that were under way were given up")
	}
}

func (s *server) mail(to domain.Email, subject, text, link string) error {
	return s.send(mail{To: to, Subject: subject, Text: text, Link: s.origin + link, At: s.now()})
}

// mailConfirmation sends a link that confirms an address: the pending one, if there is one. The address comes with the token, from the statement
// that stored it; one that was read before may be another one by now.
func (s *server) mailConfirmation(ctx context.Context, id domain.ID) error {
	issued, err := s.auth.IssueVerification(ctx, id, 0)
	if err != nil {
		return err
	}
	return s.sendConfirmation(issued)
}

func (s *server) sendConfirmation(issued domain.IssuedToken) error {
	return s.mail(issued.Email, "Confirm your address", "Open this page, and confirm that this is your address. The link is good until "+
		deadline(issued.ExpiresAt)+".", "/confirm?token="+issued.Token.Reveal())
}

// mailReset sends a link that sets another password, if there is such an account.
func (s *server) mailReset(ctx context.Context, email domain.Email) error {
	user, err := s.store.FindByEmail(ctx, email)
	if err != nil {
		return unless(err, domain.ErrNotFound)
	}
	issued, err := s.auth.IssueReset(ctx, user.ID(), 0)
	if err != nil {
		return unless(err, domain.ErrInactive)
	}
	return s.mail(issued.Email, "Set another password", "Open this page to set another password. The link is good until "+deadline(issued.ExpiresAt)+
		". If it was not you who asked for it, do nothing.", "/reset?token="+issued.Token.Reveal())
}

// warn tells an owner of something that only a stranger should wonder about.
func (s *server) warn(email domain.Email, subject, text string) error {
	return s.mail(email, subject, text+" If it was not you, set another password: that ends all sessions.", "/forgot")
}

// unless returns err, or nil if it is of one of the kinds.
func unless(err error, kinds ...domain.Kind) error {
	if slices.Contains(kinds, domain.KindOf(err)) {
		return nil
	}
	return err
}

func deadline(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04") + " UTC" }

// deviceLabel is what the owner of a session will know it by.
func deviceLabel(r *http.Request) string {
	agent := r.UserAgent()
	find := func(unknown string, names ...string) string { // pairs of what stands in the header and what people call it
		for i := 0; i < len(names); i += 2 {
			if strings.Contains(agent, names[i]) {
				return names[i+1]
			}
		}
		return unknown
	}
	browser := find("A browser", "Edg/", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari")
	system := find("", "iPhone", "iPhone", "iPad", "iPad", "Android", "Android", "Windows", "Windows", "Mac OS X", "macOS", "CrOS", "ChromeOS", "Linux", "Linux")
	if system == "" {
		return browser
	}
	return browser + " on " + system
}
