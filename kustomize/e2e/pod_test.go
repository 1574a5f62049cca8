package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is one of one container.
type pod struct {
	agent   *agent
	object  *corev1.Pod
	number  int
	address string
	dir     string
	sandbox *sandbox
	samples samples
	deaf    atomic.Bool // what happens to the container is not noticed: for negative controls

	reporting sync.Mutex  // one status after the other
	reported  atomic.Bool // the API server has the status

	mu       sync.Mutex
	cmd      *exec.Cmd
	alive    bool
	ended    chan struct{} // closed with the process
	started  bool          // the startup probe has succeeded
	ready    bool
	since    time.Time // of ready
	begin    time.Time
	restarts int32
	killing  bool // the process has been sent SIGKILL
	deleting bool
	finished sync.Once
}

func newPod(a *agent, object *corev1.Pod, number int) *pod {
	return &pod{
		agent: a, object: object, number: number, since: time.Now(),
		address: fmt.Sprintf("10.244.%d.%d", 1+number/250, 1+number%250),
		dir:     filepath.Join(a.dir, object.Name),
	}
}

func (p *pod) name() string { return p.object.Name }

// spec is the container's.
func (p *pod) spec() *corev1.Container { return &p.object.Spec.Containers[0] }

// run is the pod's life: the container is started again until the pod is deleted.
func (p *pod) run() {
	spec, err := p.prepare()
	if err == nil {
		p.sandbox, err = newSandbox(p.number, p.address)
	}
	if err != nil {
		p.agent.t.Errorf("pod %s: %v", p.name(), err)
		return
	}
	for attempt := 0; ; attempt++ {
		if attempt > 1 { // as the kubelet's back-off begins
			time.Sleep(10 * time.Second)
		}
		if !p.once(spec) {
			return
		}
	}
}

// deafness is for how long the end of a deaf pod's container is not noticed.
const deafness = 5 * time.Second

// once runs the container to its end; true: start it again.
func (p *pod) once(spec string) bool {
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.agent.t.Errorf("pod %s: %v", p.name(), err)
		return false
	}
	defer func() { _ = log.Close() }()
	p.mu.Lock()
	if p.deleting || p.agent.ctx.Err() != nil {
		p.mu.Unlock()
		return false
	}
	p.cmd, err = p.sandbox.run(spec, log)
	if err != nil {
		p.mu.Unlock()
		p.agent.t.Errorf("pod %s: %v", p.name(), err)
		return false
	}
	p.alive, p.begin, p.ended = true, time.Now(), make(chan struct{})
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	p.report()
	ctx, cancel := context.WithCancel(p.agent.ctx)
	var probes sync.WaitGroup
	probes.Go(func() { p.probe(ctx) })
	_ = cmd.Wait()
	cancel()
	p.mu.Lock()
	if !p.deleting && !p.killing && p.agent.ctx.Err() == nil {
		p.agent.t.Logf("the container of %s has ended (%v), and nobody here ended it: see its log; does something else on this machine signal programs by their name?", p.name(), cmd.ProcessState)
	}
	p.alive, p.started, p.killing = false, false, false
	p.restarts++
	p.mu.Unlock()
	close(ended)
	if p.deaf.Load() {
		time.Sleep(deafness)
	}
	p.setReady(false)
	probes.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.deleting && p.agent.ctx.Err() == nil
}

// terminate ends the pod as the kubelet does: preStop, SIGTERM, and at the end
// of the grace period, which both are part of, SIGKILL.
func (p *pod) terminate(grace time.Duration) {
	p.finished.Do(func() {
		p.mu.Lock()
		p.deleting = true
		p.mu.Unlock()
		p.agent.wait.Go(func() {
			end := time.After(grace)
			if l := p.spec().Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
				select {
				case <-end:
				case <-time.After(time.Duration(l.PreStop.Sleep.Seconds) * time.Second):
				}
			}
			p.signal("TERM")
			p.mu.Lock()
			ended := p.ended
			p.mu.Unlock()
			if ended != nil {
				select {
				case <-ended:
				case <-end:
					p.signal("KILL")
					<-ended
				}
			}
			if p.sandbox != nil {
				p.sandbox.close()
			}
			p.agent.forget(p)
		})
	})
}

var signals = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}

func (p *pod) signal(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive {
		p.killing = p.killing || name == "KILL"
		_ = p.cmd.Process.Signal(signals[name])
	}
}

func (p *pod) setReady(ready bool) {
	p.mu.Lock()
	changed := p.ready != ready
	if changed {
		p.ready, p.since = ready, time.Now()
	}
	p.mu.Unlock()
	if changed || !ready {
		p.report()
	}
}

func (p *pod) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready && !p.deleting
}

// report writes the pod's status. One that the API server did not take, because it
// is busy, is written again (agent.catchUp).
func (p *pod) report() {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	p.mu.Lock()
	truth := func(v bool) corev1.ConditionStatus {
		if v {
			return corev1.ConditionTrue
		}
		return corev1.ConditionFalse
	}
	condition := func(kind corev1.PodConditionType, v bool, since time.Time) corev1.PodCondition {
		return corev1.PodCondition{Type: kind, Status: truth(v), LastTransitionTime: metav1.NewTime(since)}
	}
	started := p.started
	c := corev1.ContainerStatus{
		Name: p.spec().Name, Image: p.spec().Image, ImageID: p.spec().Image, ContainerID: fmt.Sprintf("e2e://%s-%d", p.object.UID, p.restarts),
		Ready: p.ready, Started: &started, RestartCount: p.restarts,
	}
	if p.alive {
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(p.begin)}
	} else {
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	begin := metav1.NewTime(p.begin)
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: p.address, PodIPs: []corev1.PodIP{{IP: p.address}},
		HostIP: bridgeAddress, HostIPs: []corev1.HostIP{{IP: bridgeAddress}}, StartTime: &begin,
		Conditions: []corev1.PodCondition{
			condition(corev1.PodReadyToStartContainers, true, p.begin), condition(corev1.PodInitialized, true, p.begin),
			condition(corev1.ContainersReady, p.ready, p.since), condition(corev1.PodReady, p.ready, p.since),
		},
		ContainerStatuses: []corev1.ContainerStatus{c},
	}
	p.mu.Unlock()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": status})
	if err != nil {
		p.agent.t.Errorf("status of pod %s: %v", p.name(), err)
		return
	}
	_, err = p.agent.client.CoreV1().Pods(p.object.Namespace).Patch(p.agent.ctx, p.object.Name,
		types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	p.reported.Store(err == nil || errors.IsNotFound(err) || errors.IsConflict(err))
}
