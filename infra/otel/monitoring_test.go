package otel_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/infra"
	"github.com/softbee/accounts/infra/otel"
	"github.com/softbee/accounts/infra/storetest"
)

// emitted returns the names, as Prometheus has them, of all metrics of this package, each with its attributes.
func emitted(t *testing.T) map[string][]string {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	observer, err := otel.Observer(nil, meters)
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.OpenSQLite(t, ":memory:", infra.WithObserver(observer))
	if _, err := otel.ObservePool(store, "accounts", meters); err != nil {
		t.Fatal(err)
	}
	if _, err := otel.ObserveHashing(func() (running, waiting int) { return 1, 2 }, meters); err != nil {
		t.Fatal(err)
	}
	_, _ = store.FindByID(t.Context(), domain.NewID())
	for _, operation := range []string{"authenticate", domain.OperationHash} {
		observer.End(observer.Begin(t.Context(), operation), domain.Observation{Operation: operation, Err: domain.ErrLocked})
	}
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{}
	for _, scope := range metrics.ScopeMetrics {
		for _, m := range scope.Metrics {
			encoded, err := json.Marshal(m.Data)
			if err != nil {
				t.Fatal(err)
			}
			var attributes []string
			for _, match := range regexp.MustCompile(`"Key":"([^"]+)"`).FindAllStringSubmatch(string(encoded), -1) {
				attributes = append(attributes, strings.ReplaceAll(match[1], ".", "_"))
			}
			name := strings.ReplaceAll(m.Name, ".", "_")
			if m.Unit == "s" {
				name += "_seconds"
			}
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					names[name+suffix] = append(attributes, "le")
				}
				continue
			case metricdata.Sum[int64]:
				if data.IsMonotonic {
					name += "_total"
				}
			case metricdata.Sum[float64]:
				name += "_total"
			}
			names[name] = append([]string{}, attributes...)
		}
	}
	return names
}

// Words of PromQL that are no metric and no label.
var promQL = []string{"sum", "by", "rate", "increase", "histogram_quantile", "and", "offset"}

// TestDashboardAndAlertsNameWhatIsEmitted reads every expression of docs/monitoring.
func TestDashboardAndAlertsNameWhatIsEmitted(t *testing.T) {
	names := emitted(t)
	used := map[string]bool{}
	check := func(where, expression string) {
		t.Helper()
		if strings.Count(expression, "(") != strings.Count(expression, ")") || strings.Count(expression, "{") != strings.Count(expression, "}") {
			t.Errorf("%s: brackets do not match in %s", where, expression)
		}
		bare := regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|\b\d\w*`).ReplaceAllString(expression, "")
		var metrics, labels []string
		for _, word := range regexp.MustCompile(`[a-zA-Z_]\w*`).FindAllString(bare, -1) {
			switch {
			case slices.Contains(promQL, word):
			case names[word] != nil:
				metrics = append(metrics, word)
				used[word] = true
			default:
				labels = append(labels, word)
			}
		}
		if len(metrics) == 0 {
			t.Errorf("%s: no metric that is emitted in %s", where, expression)
		}
		for _, label := range labels {
			for _, metric := range metrics {
				if !slices.Contains(names[metric], label) {
					t.Errorf("%s: %s is neither a metric nor an attribute of %s", where, label, metric)
				}
			}
		}
	}
	var dashboard struct {
		Title      string
		Templating struct{ List []struct{ Name string } }
		Panels     []struct {
			Title, Type string
			GridPos     struct{ H, W int }
			Targets     []struct{ RefID, Expr string }
		}
	}
	read(t, "dashboard.json", &dashboard)
	if dashboard.Title == "" || len(dashboard.Panels) < 8 || len(dashboard.Templating.List) != 1 {
		t.Errorf("the dashboard %q has %d panels", dashboard.Title, len(dashboard.Panels))
	}
	for _, panel := range dashboard.Panels {
		if panel.Title == "" || panel.Type == "" || panel.GridPos.W == 0 || len(panel.Targets) == 0 {
			t.Errorf("panel %+v", panel)
		}
		for _, target := range panel.Targets {
			check(panel.Title, target.Expr)
		}
	}
	var alerts struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	read(t, "alerts.json", &alerts)
	var all []string
	for _, group := range alerts.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" || !regexp.MustCompile(`^\d+[smh]$`).MatchString(rule.For) || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
				t.Errorf("rule %+v", rule)
			}
			check(rule.Alert, rule.Expr)
			all = append(all, rule.Expr)
		}
	}
	for _, watched := range []string{"locked", "bad_credentials", "token_reused", "accounts_hash_waiting"} {
		if !strings.Contains(strings.Join(all, "\n"), watched) {
			t.Errorf("no rule watches %s", watched)
		}
	}
	document, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		base := name
		for _, suffix := range []string{"_bucket", "_count", "_sum", "_total"} {
			if base != "db_client_connection_count" {
				base = strings.TrimSuffix(base, suffix)
			}
		}
		base = strings.TrimSuffix(base, "_seconds")
		documented := regexp.MustCompile("`" + strings.ReplaceAll(base, "_", "[._]") + "`")
		if !documented.Match(document) {
			t.Errorf("docs/monitoring.md does not name %s", base)
		}
		if !used[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_bucket") && !strings.HasSuffix(name, "_count") {
			t.Errorf("no panel and no rule uses %s", name)
		}
	}
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../../docs/monitoring/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
