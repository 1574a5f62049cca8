package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rendered = "../testdata/rendered"

// TestOverlays asks a real API server what it thinks of every overlay, without
// keeping any: schemas, ranges, enumerations, Pod Security, rules of CRDs.
func TestOverlays(t *testing.T) {
	c := startAPI(t)
	c.installCRDs(t)
	namespaces, err := filepath.Glob("../overlays/*/namespace.yaml")
	if err != nil || len(namespaces) == 0 {
		t.Fatal("no overlay has a namespace.yaml: ", err)
	}
	for _, path := range namespaces {
		c.createNamespace(t, path)
	}
	overlays, err := filepath.Glob(rendered + "/*.yaml")
	if err != nil || len(overlays) < 5 {
		t.Fatalf("%s holds %v (%v): too few", rendered, overlays, err)
	}
	for _, path := range overlays {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out := c.kubectl(t, strings.NewReader(string(text)), dryRun...)
			if got, want := strings.Count(out, "serverside-applied (server dry run)"), strings.Count("\n"+string(text), "\nkind: "); got != want {
				t.Errorf("%d objects, %d were looked at:\n%s", want, got, out)
			}
		})
	}
	version, err := c.client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("tolerance", func(t *testing.T) { tolerance(t, c) })
	t.Run("refused", func(t *testing.T) { refused(t, c) })
	t.Logf("kube-apiserver %s took %d overlays", version.GitVersion, len(overlays))
}

var dryRun = []string{"apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"}

// tolerance: does this API server have behavior.scaleDown.tolerance? One that
// has not drops the field.
func tolerance(t *testing.T, c *cluster) {
	text, err := os.ReadFile(rendered + "/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := c.kubectl(t, strings.NewReader(string(text)), append(dryRun, "-o",
		`jsonpath={range .items[?(@.kind=="HorizontalPodAutoscaler")]}{.spec.behavior.scaleDown.tolerance}{end}`)...)
	if out != "570m" && out != "0.57" {
		t.Errorf("behavior.scaleDown.tolerance is %q in the API server's answer: older than 1.35? Leave out components/hpa-tolerance there", out)
	}
}

// refused: the check can fail. Each mistake is one that schemas let pass.
func refused(t *testing.T, c *cluster) {
	text, err := os.ReadFile(rendered + "/production.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, mistake := range []struct{ name, old, new, says string }{
		{"maximum under minimum", "maxReplicas: 60", "maxReplicas: 2", "maxReplicas"},
		{"policy that is none", "unhealthyPodEvictionPolicy: AlwaysAllow", "unhealthyPodEvictionPolicy: Sometimes", "Sometimes"},
		{"root", "runAsNonRoot: true", "runAsNonRoot: false", "would violate PodSecurity"},
		{"quantity", "memory: 1Gi", "memory: 1GiB", "quantities must match"},
		{"unknown field", "averageUtilization", "averageUtilisation", "averageUtilisation"},
	} {
		t.Run(mistake.name, func(t *testing.T) {
			wrong := strings.ReplaceAll(string(text), mistake.old, mistake.new)
			if wrong == string(text) {
				t.Fatalf("%s/production.yaml has no %q", rendered, mistake.old)
			}
			if out, err := c.try(strings.NewReader(wrong), dryRun...); err == nil {
				t.Errorf("passes:\n%s", out)
			} else if !strings.Contains(err.Error(), mistake.says) {
				t.Errorf("is refused for another reason than %q: %v", mistake.says, err)
			}
		})
	}
}
