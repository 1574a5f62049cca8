package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
)

// agent is the kubelet of all nodes.
type agent struct {
	t      *testing.T
	ctx    context.Context
	client kubernetes.Interface
	dir    string
	images map[string]string // by an image's name without its tag: the program

	mu   sync.Mutex
	pods map[types.UID]*pod
	next int
	wait sync.WaitGroup
}

// startAgent registers nodes and runs what the scheduler gives them.
func startAgent(t *testing.T, c *cluster, images map[string]string) *agent {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &agent{t: t, ctx: ctx, client: c.client, dir: filepath.Join(c.dir, "pods"), images: images, pods: map[types.UID]*pod{}}
	if err := os.Mkdir(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Containers' users look into their volumes.
	for dir := a.dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, arch := range []string{"amd64", "amd64", "arm64"} {
		if err := a.register(fmt.Sprintf("node%d", i+1), arch); err != nil {
			t.Fatal(err)
		}
	}
	factory := informers.NewSharedInformerFactory(c.client, 0)
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.sync(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { a.sync(o.(*corev1.Pod)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	go a.catchUp()
	t.Cleanup(func() {
		cancel()
		a.mu.Lock()
		for _, p := range a.pods {
			p.signal("KILL")
		}
		a.mu.Unlock()
		a.wait.Wait()
	})
	return a
}

// register makes a node and keeps its lease.
func (a *agent) register(name, arch string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"kubernetes.io/arch": arch, "kubernetes.io/os": "linux", "kubernetes.io/hostname": name,
		"topology.kubernetes.io/zone": "zone-" + name, "topology.kubernetes.io/region": "e2e",
	}}}
	_, err := a.client.CoreV1().Nodes().Create(a.ctx, node, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	room := corev1.ResourceList{
		"cpu": resource.MustParse("8"), "memory": resource.MustParse("64Gi"),
		"ephemeral-storage": resource.MustParse("64Gi"), "pods": resource.MustParse("50"),
	}
	now := metav1.Now()
	status := corev1.NodeStatus{
		Capacity: room, Allocatable: room,
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "E2E", LastHeartbeatTime: now, LastTransitionTime: now}},
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: bridgeAddress}},
	}
	// Controllers write taints and addresses of new nodes at the same time.
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := a.client.CoreV1().Nodes().Get(a.ctx, name, metav1.GetOptions{})
		if err == nil {
			node.Status = status
			_, err = a.client.CoreV1().Nodes().UpdateStatus(a.ctx, node, metav1.UpdateOptions{})
		}
		return err
	})
	if err != nil {
		return err
	}
	go a.renew(name)
	return nil
}

func (a *agent) renew(name string) {
	leases := a.client.CoordinationV1().Leases("kube-node-lease")
	seconds := int32(40)
	for a.ctx.Err() == nil {
		now := metav1.NowMicro()
		spec := coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}
		lease, err := leases.Get(a.ctx, name, metav1.GetOptions{})
		if err == nil {
			lease.Spec = spec
			_, err = leases.Update(a.ctx, lease, metav1.UpdateOptions{})
		} else {
			_, err = leases.Create(a.ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		}
		pause := 10 * time.Second
		if err != nil { // the namespace is made by a controller
			pause = time.Second
		}
		select {
		case <-a.ctx.Done():
		case <-time.After(pause):
		}
	}
}

// sync starts a pod that was given to a node and ends one that was deleted.
func (a *agent) sync(object *corev1.Pod) {
	if object.Spec.NodeName == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.pods[object.UID]
	if p == nil {
		if object.DeletionTimestamp != nil {
			a.remove(object)
			return
		}
		a.next++
		p = newPod(a, object, a.next)
		a.pods[object.UID] = p
		a.wait.Go(p.run)
		return
	}
	if object.DeletionTimestamp != nil {
		grace := int64(30)
		if object.DeletionGracePeriodSeconds != nil {
			grace = *object.DeletionGracePeriodSeconds
		}
		p.terminate(time.Duration(grace) * time.Second)
	}
}

// remove tells the API server that nothing is left of a pod.
func (a *agent) remove(object *corev1.Pod) {
	now := int64(0)
	_ = a.client.CoreV1().Pods(object.Namespace).Delete(context.Background(), object.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &object.UID}})
}

func (a *agent) forget(p *pod) {
	a.mu.Lock()
	delete(a.pods, p.object.UID)
	a.mu.Unlock()
	a.remove(p.object)
}

// gateways are the pods of the fleet, oldest first.
func (a *agent) gateways() (found []*pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for number := 0; number <= a.next; number++ {
		for _, p := range a.pods {
			if p.number == number && p.object.Labels["app.kubernetes.io/name"] == "perigee" {
				found = append(found, p)
			}
		}
	}
	return found
}

// catchUp writes again what the API server has not taken, until the test ends.
func (a *agent) catchUp() {
	for a.ctx.Err() == nil {
		time.Sleep(time.Second)
		for _, p := range a.unreported() {
			p.report()
		}
	}
}

// unreported are the pods whose status the API server has not taken.
func (a *agent) unreported() (found []*pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		p.mu.Lock()
		begun := !p.begin.IsZero()
		p.mu.Unlock()
		if begun && !p.reported.Load() {
			found = append(found, p)
		}
	}
	return found
}

// logs are the ends of what all pods have written, also those that are gone.
func (a *agent) logs() string {
	files, _ := filepath.Glob(filepath.Join(a.dir, "*", "log"))
	text := "logs of the pods:"
	for _, file := range files {
		p := process{name: filepath.Base(filepath.Dir(file)), log: file}
		text += "\n" + p.tail()
	}
	return text
}

// hosts are the names of Services, as DNS would answer.
func (a *agent) hosts(namespace string) (string, error) {
	text := "127.0.0.1 localhost\n"
	services, err := a.client.CoreV1().Services(namespace).List(a.ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, s := range services.Items {
		text += fmt.Sprintf("%s %s %s.%s.svc.cluster.local\n", s.Spec.ClusterIP, s.Name, s.Name, s.Namespace)
	}
	return text, nil
}
