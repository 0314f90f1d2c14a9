// Command webapp is a small web application with accounts: register, confirm, sign in, devices, passwords, an identity provider, and the pages of an
// administrator. It is made to be read, and to be clicked through:
//
//	go run .
//
// and http://localhost:8080 in a browser. Accounts are in the file webapp.db, and mails are on a page of the application itself. That is the
// demonstration, which listens on the machine itself only; the first account that registers becomes an administrator. For other people it takes a mail
// server, and an address that begins with https:// (behind a proxy that terminates TLS):
//
//	webapp -database postgres://app@localhost/app -smtp localhost:25 -origin https://app.example
//	webapp -database postgres://app@localhost/app -promote ana
//
// The second command makes an account an administrator.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/password"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "webapp:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	listen, origin, database, smtp, promote string
	oidcIssuer, oidcClient                  string
	log, telemetry                          bool
}

func readOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("webapp", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.listen, "listen", "localhost:8080", "`address` to listen on")
	flags.StringVar(&o.origin, "origin", "", "how browsers reach it, such as https://app.example (default: http:// and the address)")
	flags.StringVar(&o.database, "database", "webapp.db", "`file` of SQLite, or postgres:// URL")
	flags.StringVar(&o.smtp, "smtp", "", "mail `server`, as host:port (default: the demonstration, with mails on a page)")
	flags.StringVar(&o.promote, "promote", "", "make the account of this `name` an administrator, and end")
	flags.StringVar(&o.oidcIssuer, "oidc-issuer", "", "`URL` of an identity provider; the client's secret is in OIDC_CLIENT_SECRET")
	flags.StringVar(&o.oidcClient, "oidc-client", "", "`id` of the application there")
	flags.BoolVar(&o.log, "log", false, "log requests and refusals as JSON on standard error")
	flags.BoolVar(&o.telemetry, "otel", false, "write OpenTelemetry's spans and metrics to standard error")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.origin = cmp.Or(o.origin, "http://"+o.listen)
	origin, err := url.Parse(o.origin)
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case err != nil || origin.Host == "" || origin.Path != "" || origin.Scheme != "http" && origin.Scheme != "https":
		return o, fmt.Errorf("-origin is %q; expected a URL like https://app.example", o.origin)
	case o.smtp == "" && !isLocal(o.listen):
		return o, errors.New("the demonstration shows all mails to everybody, and so listens on localhost only: name a mail server by -smtp")
	case o.smtp != "" && origin.Scheme != "https":
		return o, errors.New("cookies need https://: name the address that browsers use by -origin")
	}
	return o, nil
}

func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := readOptions(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	var observers []domain.Observer
	if o.log {
		log = slog.New(slog.NewJSONHandler(stderr, nil))
		observers = append(observers, infra.LogRefusals(log))
	}
	wrap := func(h http.Handler) http.Handler { return h }
	var meters *metric.MeterProvider
	if o.telemetry {
		tracers, m, err := telemetry(stderr)
		if err != nil {
			return err
		}
		meters = m
		defer func() {
			_ = errors.Join(tracers.Shutdown(context.WithoutCancel(ctx)), meters.Shutdown(context.WithoutCancel(ctx)))
		}()
		observer, err := otel.Observer(tracers, meters)
		if err != nil {
			return err
		}
		observers = append(observers, observer)
		wrap = func(h http.Handler) http.Handler {
			return otelhttp.NewHandler(h, "webapp", otelhttp.WithTracerProvider(tracers), otelhttp.WithMeterProvider(meters))
		}
	}

	store, err := openStore(ctx, o.database, infra.WithObserver(observers...))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := migrateStore(ctx, store); err != nil {
		return err
	}
	if o.promote != "" {
		return promote(ctx, store, o.promote)
	}
	hasher, err := password.New(password.Policy{Observers: observers})
	if err != nil {
		return err
	}
	if meters != nil {
		_, poolErr := otel.ObservePool(store, "webapp", meters)
		_, hashErr := otel.ObserveHashing(func() (int, int) { s := hasher.Stats(); return s.Running, s.Waiting }, meters)
		if err := errors.Join(poolErr, hashErr); err != nil {
			return err
		}
	}
	c := config{origin: o.origin, store: store, hasher: hasher, observers: observers, log: log, limits: defaultLimits}
	if o.smtp != "" {
		c.send = sendBySMTP(o.smtp, "accounts@"+hostname(o.origin))
	}
	if o.oidcIssuer != "" {
		if c.provider, err = newProvider(ctx, o.oidcIssuer, o.oidcClient, os.Getenv("OIDC_CLIENT_SECRET"), o.origin); err != nil {
			return err
		}
	}
	s, err := newServer(c)
	if err != nil {
		return err
	}
	return serve(ctx, s, wrap(s.handler()), o, stderr)
}

// serve answers requests until ctx ends, and then lets those that run, and what they left to be done, come to their end.
func serve(ctx context.Context, s *server, h http.Handler, o options, stderr io.Writer) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	web := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       time.Minute, // for the upload of an import
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	fmt.Fprintln(stderr, "webapp:", o.origin)
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(web.Shutdown(ending), s.wait(ending))
}

// telemetry writes spans and metrics as text. An application that has a collector takes the exporters of OTLP here.
func telemetry(w io.Writer) (*trace.TracerProvider, *metric.MeterProvider, error) {
	spans, spansErr := stdouttrace.New(stdouttrace.WithWriter(w))
	metrics, metricsErr := stdoutmetric.New(stdoutmetric.WithWriter(w))
	if err := errors.Join(spansErr, metricsErr); err != nil {
		return nil, nil, err
	}
	return trace.NewTracerProvider(trace.WithBatcher(spans)), metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(metrics))), nil
}

func hostname(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return "localhost"
	}
	return strings.TrimPrefix(u.Hostname(), "www.")
}
