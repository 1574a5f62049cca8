package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// cluster is a control plane on loopback.
type cluster struct {
	dir        string
	url        string
	kubeconfig string
	keys       *authority
	client     *kubernetes.Clientset
	ready      time.Duration // from the start of etcd to a ready API server
}

// token is the administrator's.
const token = "e2e-administrator"

// startAPI starts etcd and the API server.
func startAPI(t *testing.T) *cluster {
	t.Helper()
	if *binaries == "" {
		t.Skip("no -control-plane: .ci/controlplane.sh builds it")
	}
	begin := time.Now()
	c := &cluster{dir: t.TempDir()}
	c.keys = newAuthority(t, c.dir)
	c.keys.accountKeys(t)
	c.keys.sign(t, "apiserver")
	c.keys.sign(t, "front-proxy")
	client, peer, api := freeAddress(t), freeAddress(t), freeAddress(t)
	c.url = "https://" + api
	c.writeFiles(t)
	etcd := start(t, c.dir, "etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "default=http://"+peer)
	server := start(t, c.dir, filepath.Join(*binaries, "kube-apiserver"), c.apiFlags("http://"+client, port(api))...)
	var err error
	c.client, err = kubernetes.NewForConfig(&rest.Config{
		Host: c.url, BearerToken: token, QPS: 200, Burst: 400,
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.keys.path("ca.crt")},
		WarningHandler:  warned{t},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Minute, "API server", func() string {
		if !etcd.running() || !server.running() {
			t.Fatal("the control plane has ended\n", etcd.tail(), "\n", server.tail())
		}
		if body, err := c.client.RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context()); err != nil {
			return fmt.Sprintf("%v: %s", err, body)
		}
		return ""
	})
	c.ready = time.Since(begin)
	return c
}

// warned fails the test for what the API server warns of.
type warned struct{ t *testing.T }

func (w warned) HandleWarningHeader(_ int, _, text string) {
	w.t.Error("the API server warns: ", text)
}

func (c *cluster) writeFiles(t *testing.T) {
	t.Helper()
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	for path, text := range map[string]string{
		c.keys.path("tokens.csv"): token + `,admin,admin,"system:masters"` + "\n",
		c.kubeconfig: fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: e2e, context: {cluster: e2e, user: admin}}]
current-context: e2e
`, c.url, c.keys.path("ca.crt"), token),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cluster) apiFlags(etcd, port string) []string {
	key := c.keys.path
	return []string{
		"--etcd-servers=" + etcd, "--bind-address=127.0.0.1", "--secure-port=" + port,
		// Nobody reaches the API server through a Service, and loopback is no
		// address of an endpoint.
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + key("apiserver.crt"), "--tls-private-key-file=" + key("apiserver.key"),
		"--service-cluster-ip-range=" + serviceRange,
		"--service-account-key-file=" + key("sa.pub"), "--service-account-signing-key-file=" + key("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--token-auth-file=" + key("tokens.csv"), "--authorization-mode=RBAC",
		"--client-ca-file=" + key("ca.crt"), "--requestheader-client-ca-file=" + key("ca.crt"),
		"--requestheader-allowed-names=front-proxy", "--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + key("front-proxy.crt"), "--proxy-client-key-file=" + key("front-proxy.key"),
	}
}

// startControllers adds controllers and the scheduler. Times of the autoscaler's
// are shorter than in production, where a look at metrics is taken each 15 s.
func (c *cluster) startControllers(t *testing.T) {
	t.Helper()
	manager := start(t, c.dir, filepath.Join(*binaries, "kube-controller-manager"),
		"--kubeconfig="+c.kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port="+port(freeAddress(t)),
		"--service-account-private-key-file="+c.keys.path("sa.key"), "--root-ca-file="+c.keys.path("ca.crt"),
		"--use-service-account-credentials=true",
		"--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=1s")
	scheduler := start(t, c.dir, filepath.Join(*binaries, "kube-scheduler"),
		"--kubeconfig="+c.kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port="+port(freeAddress(t)))
	eventually(t, 5*time.Minute, "controllers", func() string {
		if !manager.running() || !scheduler.running() {
			t.Fatal("the control plane has ended\n", manager.tail(), "\n", scheduler.tail())
		}
		if _, err := c.client.CoreV1().ServiceAccounts("default").Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// kubectl runs the real one. A Warning of the API server is a failure: it is all
// that Pod Security says of a Deployment whose pods it will refuse.
func (c *cluster) kubectl(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	out, err := c.try(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) try(stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(*binaries, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "HOME="+c.dir)
	cmd.Stdin = stdin
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, errors.String())
	}
	if strings.Contains(errors.String(), "Warning:") {
		return "", fmt.Errorf("kubectl %s: the API server warns:\n%s", strings.Join(args, " "), errors.String())
	}
	return out.String(), nil
}

// installCRDs makes the API server know what the Prometheus operator brings.
func (c *cluster) installCRDs(t *testing.T) {
	t.Helper()
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		c.kubectl(t, nil, "create", "-f", filepath.Join(*crds, "monitoring.coreos.com_"+name+".yaml"))
	}
	c.kubectl(t, nil, "wait", "--for=condition=Established", "--timeout=300s", "crd/servicemonitors.monitoring.coreos.com", "crd/prometheusrules.monitoring.coreos.com")
}

// createNamespace makes one from its manifest, where Pod Security is asked for.
func (c *cluster) createNamespace(t *testing.T, path string) string {
	t.Helper()
	c.kubectl(t, nil, "apply", "--server-side", "-f", path)
	name := c.kubectl(t, nil, "get", "-f", path, "-o", "jsonpath={.metadata.name}")
	eventually(t, 5*time.Minute, "namespace "+name, func() string {
		ns, err := c.client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if ns.Status.Phase != corev1.NamespaceActive {
			return string(ns.Status.Phase)
		}
		return ""
	})
	return name
}
