package e2e

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe judges the container until ctx ends: startup, then readiness and
// liveness beside each other.
func (p *pod) probe(ctx context.Context) {
	p.watch(ctx, p.spec().StartupProbe, func(ok bool) bool {
		if !ok {
			p.signal("KILL")
		}
		return true
	})
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	p.started = true
	p.mu.Unlock()
	live := make(chan struct{})
	go func() {
		defer close(live)
		p.watch(ctx, p.spec().LivenessProbe, func(ok bool) bool {
			if !ok {
				p.signal("KILL")
			}
			return !ok
		})
	}()
	if p.spec().ReadinessProbe == nil {
		p.setReady(true)
	}
	p.watch(ctx, p.spec().ReadinessProbe, func(ok bool) bool {
		if ctx.Err() == nil && !p.deaf.Load() {
			p.setReady(ok)
		}
		return false
	})
	<-live
}

// watch probes until verdict returns true: it is called when a threshold has been
// reached.
func (p *pod) watch(ctx context.Context, probe *corev1.Probe, verdict func(ok bool) bool) {
	if probe == nil {
		return
	}
	tick := time.NewTicker(time.Duration(max(1, probe.PeriodSeconds)) * time.Second)
	defer tick.Stop()
	good, bad := int32(0), int32(0)
	for ctx.Err() == nil {
		if p.ask(ctx, probe) {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		if good >= max(1, probe.SuccessThreshold) && verdict(true) {
			return
		}
		if bad >= max(1, probe.FailureThreshold) && ctx.Err() == nil && verdict(false) {
			return
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// ask probes once.
func (p *pod) ask(ctx context.Context, probe *corev1.Probe) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(1, probe.TimeoutSeconds))*time.Second)
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.at(probe.HTTPGet.Port)+probe.HTTPGet.Path, nil)
		if err != nil {
			return false
		}
		response, err := probeClient.Do(request)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode >= 200 && response.StatusCode < 400
	case probe.TCPSocket != nil:
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", p.at(probe.TCPSocket.Port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	case probe.Exec != nil:
		p.mu.Lock()
		inside := []string{"--target", strconv.Itoa(p.cmd.Process.Pid), "--mount", "--net", "--root", "--"}
		p.mu.Unlock()
		return exec.CommandContext(ctx, "nsenter", append(inside, probe.Exec.Command...)...).Run() == nil
	}
	return false
}

var probeClient = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// at is the address of a port that a manifest names.
func (p *pod) at(port intstr.IntOrString) string {
	number := port.IntValue()
	for _, declared := range p.spec().Ports {
		if port.Type == intstr.String && declared.Name == port.StrVal {
			number = int(declared.ContainerPort)
		}
	}
	return net.JoinHostPort(p.address, strconv.Itoa(number))
}
