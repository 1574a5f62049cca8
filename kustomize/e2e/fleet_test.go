package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fleet is the gateway's Deployment on a cluster, with everything around it.
type fleet struct {
	*cluster
	agent    *agent
	splitter *splitter
	service  *service
	target   string // the Service's address
}

const namespace = "perigee-loadtest"

// TestFleet shows on a real control plane what the manifests promise. The parts
// share the cluster and follow each other.
func TestFleet(t *testing.T) {
	f := startFleet(t)
	t.Run("cpu", func(t *testing.T) { f.scalesOnCPU(t) })
	if !testing.Short() {
		t.Run("saturation", func(t *testing.T) { f.scalesOnSaturation(t) })
	}
	f.kubectl(t, nil, "-n", namespace, "delete", "hpa", "perigee", "--ignore-not-found")
	t.Run("rollout", func(t *testing.T) { f.rollsOut(t) })
	t.Run("kill", func(t *testing.T) { f.losesAKilledPod(t) })
	if !testing.Short() {
		t.Run("hang", func(t *testing.T) { f.losesAHungPod(t) })
		t.Run("limit", func(t *testing.T) { f.keepsLimits(t) })
	}
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	gateway, err := filepath.Abs(*perigee)
	if err != nil {
		t.Fatal(err)
	}
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server: apt-get install redis-server: ", err)
	}
	if err := startNetwork(); err != nil {
		t.Fatal("the network wants root and a namespace of its own (make e2e-k8s): ", err)
	}
	f := &fleet{cluster: startAPI(t)}
	f.startControllers(t)
	f.agent = startAgent(t, f.cluster, map[string]string{
		"registry.example.com/perigee": gateway, "docker.io/library/redis": redis,
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.agent.logs())
		}
	})
	f.splitter = startSplitter(t, f.cluster)
	startMetrics(t, f.cluster, f.agent)
	f.installCRDs(t)
	f.createNamespace(t, "../overlays/loadtest/namespace.yaml")
	f.apply(t, "overlay")
	f.settle(t, 1)
	f.kubectl(t, nil, "-n", namespace, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=300s")
	s, err := f.client.CoreV1().Services(namespace).Get(t.Context(), "perigee", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.service, f.target = f.splitter.service(namespace, "perigee"), "http://"+s.Spec.ClusterIP
	return f
}

// apply gives the API server a kustomization.
func (f *fleet) apply(t *testing.T, dir string) {
	t.Helper()
	f.kubectl(t, nil, "apply", "--server-side", "--force-conflicts", "-k", dir)
}

// wanted is how many pods the Deployment asks for.
func (f *fleet) wanted(t *testing.T) (int, error) {
	s, err := f.client.AppsV1().Deployments(namespace).GetScale(t.Context(), "perigee", metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return int(s.Spec.Replicas), nil
}

// settle waits until the fleet is of n pods, all ready, and nothing ends.
func (f *fleet) settle(t *testing.T, n int) {
	t.Helper()
	eventually(t, 8*time.Minute, strconv.Itoa(n)+" pods", func() string {
		pods := f.agent.gateways()
		ready := 0
		for _, p := range pods {
			if p.isReady() {
				ready++
			}
		}
		d, err := f.client.AppsV1().Deployments(namespace).Get(t.Context(), "perigee", metav1.GetOptions{})
		switch {
		case err != nil:
			return err.Error()
		case len(pods) != n || ready != n || int(d.Status.AvailableReplicas) != n || d.Status.ObservedGeneration < d.Generation:
			return fmt.Sprintf("there are %d, %d of them ready, %d available", len(pods), ready, d.Status.AvailableReplicas)
		}
		return ""
	})
}

// scale sets the number of pods and waits for it.
func (f *fleet) scale(t *testing.T, n int) {
	t.Helper()
	f.kubectl(t, nil, "-n", namespace, "scale", "deployment/perigee", "--replicas="+strconv.Itoa(n))
	f.settle(t, n)
}

// rolled waits until a rollout is over and its old pods have gone.
func (f *fleet) rolled(t *testing.T, n int) {
	t.Helper()
	f.kubectl(t, nil, "-n", namespace, "rollout", "status", "deployment/perigee", "--timeout=480s")
	f.settle(t, n)
}
