package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const golden = "../../kustomize/testdata/rendered/production.yaml"

// TestPlantedFaults breaks the production overlay in one place at a time.
func TestPlantedFaults(t *testing.T) {
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	// The names that the golden file uses stand for the real binary's.
	known := map[string]bool{}
	for _, name := range metricName.FindAllString(string(text), -1) {
		known[name] = true
	}
	runbook, err := os.ReadFile("../../kustomize/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"nothing", "", "", ""},
		{"a short grace period", "terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 30", "requests would be cut"},
		{"a long drain", "timeout: 30s", "timeout: 60s", "requests would be cut"},
		{"no drain.delay", "delay: 7s, ", "", "before everybody has stopped sending"},
		{"a token", "automountServiceAccountToken: false\n      containers", "automountServiceAccountToken: true\n      containers", "no token to lose"},
		{"root", "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
		{"a writable root", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem"},
		{"capabilities", "- ALL", "- NET_RAW", "capabilities.drop"},
		{"latest", "perigee:0.1.0", "perigee:latest", "no fixed tag"},
		{"no memory limit", "limits:\n            cpu: \"2\"\n            ephemeral-storage: 1Gi\n            memory: 1Gi", "limits:\n            cpu: \"2\"", "no memory limit"},
		{"a probe of another port", "path: /healthz\n            port: probes", "path: /healthz\n            port: admin", `asks port "admin"`},
		{"replicas beside an autoscaler", "  revisionHistoryLimit: 5", "  replicas: 3\n  revisionHistoryLimit: 5", "has replicas"},
		{"few pods", "minReplicas: 3", "minReplicas: 1", "minReplicas 1"},
		{"a scaler of nobody", "kind: Deployment\n    name: perigee\n", "kind: Deployment\n    name: other\n", "is not in the bundle"},
		{"a Service of nobody", "  selector:\n    app.kubernetes.io/name: perigee\n  type: ClusterIP", "  selector:\n    app: perigee\n  type: ClusterIP", "selects no pod"},
		{"an unknown metric", "perigee_panics_total[15m]", "perigee_panic_total[15m]", "no metric perigee_panic_total"},
		{"an unknown record", "perigee:requests_slow:ratio_rate5m > ", "perigee:requests_slow:ratio_rate4m > ", "nothing records"},
		{"an alert without an entry", "alert: PerigeeSlow", "alert: PerigeeSlower", "no entry"},
		{"a metric that nobody makes", "name: perigee_inflight_requests\n", "name: perigee_inflight\n", "no rule of Prometheus Adapter"},
	} {
		if c.from != "" && !strings.Contains(string(text), c.from) {
			t.Errorf("%s: %q is not in %s", c.name, c.from, golden)
			continue
		}
		path := filepath.Join(t.TempDir(), "production.yaml")
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), c.from, c.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := readBundle(path)
		if err != nil {
			t.Fatal(err)
		}
		b.policies()
		b.names(known, string(runbook))
		found := strings.Join(b.problems, "\n")
		if (c.want == "") != (found == "") || !strings.Contains(found, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, found, c.want)
		}
	}
}
