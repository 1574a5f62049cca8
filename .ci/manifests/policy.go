package main

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// policies are what every overlay keeps to. Each says its reason when it is
// broken.
func (b *bundle) policies() {
	for _, d := range b.of("Deployment") {
		b.podPolicies(d)
		for _, c := range d.list("spec", "template", "spec", "containers") {
			b.containerPolicies(d, c)
		}
		if isGateway(d) {
			b.drainPolicy(d)
		}
		selector, labels := d.object("spec", "selector", "matchLabels"), d.object("spec", "template", "metadata", "labels")
		if !selects(selector, labels) {
			b.problem(d, "its selector does not select its own pods")
		}
		for _, t := range d.list("spec", "template", "spec", "topologySpreadConstraints") {
			if !selects(t.object("labelSelector", "matchLabels"), labels) {
				b.problem(d, "a topologySpreadConstraint counts other pods than its own")
			}
		}
	}
	b.selectorPolicies()
	b.scalerPolicies()
	b.networkPolicies()
}

func (b *bundle) podPolicies(d object) {
	pod := d.object("spec", "template", "spec")
	if pod.at("automountServiceAccountToken") != false {
		b.problem(d, "automountServiceAccountToken must be false: a pod that asks the API server nothing has no token to lose")
	}
	if pod.at("securityContext", "runAsNonRoot") != true || pod.text("securityContext", "seccompProfile", "type") != "RuntimeDefault" {
		b.problem(d, "securityContext must have runAsNonRoot and seccompProfile RuntimeDefault: Pod Security \"restricted\" refuses the pod")
	}
	for _, key := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		if pod.at(key) != nil {
			b.problem(d, "%s shares the node with the pod", key)
		}
	}
	if name := pod.text("serviceAccountName"); name != "" && b.named("ServiceAccount", name) == nil {
		b.problem(d, "ServiceAccount %q is not in the bundle", name)
	}
	if name := pod.text("priorityClassName"); name != "" && b.named("PriorityClass", name) == nil {
		b.problem(d, "PriorityClass %q is not in the bundle", name)
	}
}

func (b *bundle) containerPolicies(d, c object) {
	name := c.text("name")
	image := c.text("image")
	if tag := image[strings.LastIndex(image, "/")+1:]; !strings.Contains(tag, ":") || strings.HasSuffix(tag, ":latest") {
		b.problem(d, "container %s: image %q has no fixed tag: two pods may run different binaries", name, image)
	}
	for _, key := range []string{"cpu", "memory"} {
		if c.at("resources", "requests", key) == nil {
			b.problem(d, "container %s requests no %s: it is scheduled where there is none, and cannot be autoscaled", name, key)
		}
	}
	if c.at("resources", "limits", "memory") == nil {
		b.problem(d, "container %s has no memory limit: it takes the node's", name)
	}
	s := c.object("securityContext")
	if s.at("allowPrivilegeEscalation") != false || s.at("readOnlyRootFilesystem") != true {
		b.problem(d, "container %s: securityContext needs allowPrivilegeEscalation: false and readOnlyRootFilesystem: true", name)
	}
	if drop, _ := s.at("capabilities", "drop").([]any); len(drop) != 1 || drop[0] != "ALL" {
		b.problem(d, "container %s: capabilities.drop must be [ALL]", name)
	}
	ports := map[string]bool{}
	for _, p := range c.list("ports") {
		ports[p.text("name")] = true
	}
	for _, kind := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		p := c.object(kind)
		if p == nil {
			if isGateway(d) {
				b.problem(d, "container %s has no %s", name, kind)
			}
			continue
		}
		for _, how := range []string{"httpGet", "tcpSocket"} {
			if port := p.text(how, "port"); port != "" && !ports[port] {
				b.problem(d, "container %s: %s asks port %q, which it does not have", name, kind, port)
			}
		}
	}
}

// slack is what a grace period has beyond everything that is waited for.
const slack = 5 * time.Second

// drainPolicy adds up what happens between a pod's deletion and its end.
func (b *bundle) drainPolicy(d object) {
	var config struct {
		Drain struct {
			Delay, Timeout time.Duration
		}
	}
	text := b.mounted(d)["perigee.yaml"]
	if err := yaml.Unmarshal([]byte(text), &config); err != nil || text == "" {
		b.problem(d, "its perigee.yaml cannot be read: %v", err)
		return
	}
	grace, _ := d.number("spec", "template", "spec", "terminationGracePeriodSeconds")
	for _, c := range d.list("spec", "template", "spec", "containers") {
		sleep, _ := c.number("lifecycle", "preStop", "sleep", "seconds")
		need := time.Duration(sleep)*time.Second + config.Drain.Delay + config.Drain.Timeout + slack
		if have := time.Duration(grace) * time.Second; have < need {
			b.problem(d, "terminationGracePeriodSeconds is %v, but preStop, drain.delay, drain.timeout and %v over are %v: requests would be cut", have, slack, need)
		}
		if sleep == 0 || config.Drain.Delay == 0 {
			b.problem(d, "without preStop sleep and drain.delay the gateway ends before everybody has stopped sending")
		}
	}
}

// selectorPolicies: what selects pods selects some, and names their ports.
func (b *bundle) selectorPolicies() {
	for _, s := range b.of("Service") {
		pods := b.pods(s.object("spec", "selector"))
		if len(pods) == 0 {
			b.problem(s, "its selector selects no pod of the bundle")
		}
		for _, p := range s.list("spec", "ports") {
			target := p.text("targetPort")
			for _, d := range pods {
				if target != "" && !hasPort(d, target) {
					b.problem(s, "%s has no port %q", d.name(), target)
				}
			}
		}
	}
	for _, p := range b.of("PodDisruptionBudget") {
		if len(b.pods(p.object("spec", "selector", "matchLabels"))) == 0 {
			b.problem(p, "its selector selects no pod of the bundle")
		}
	}
	for _, m := range b.of("ServiceMonitor") {
		found := false
		for _, s := range b.of("Service") {
			if selects(m.object("spec", "selector", "matchLabels"), s.object("metadata", "labels")) {
				found = true
				for _, e := range m.list("spec", "endpoints") {
					if !hasServicePort(s, e.text("port")) {
						b.problem(m, "Service %s has no port %q", s.name(), e.text("port"))
					}
				}
			}
		}
		if !found {
			b.problem(m, "its selector selects no Service of the bundle")
		}
	}
}

// pods are the workloads whose pods a selector selects.
func (b *bundle) pods(selector object) (found []object) {
	for _, d := range b.of("Deployment") {
		if selects(selector, d.object("spec", "template", "metadata", "labels")) {
			found = append(found, d)
		}
	}
	return found
}

func hasPort(d object, name string) bool {
	for _, c := range d.list("spec", "template", "spec", "containers") {
		for _, p := range c.list("ports") {
			if p.text("name") == name {
				return true
			}
		}
	}
	return false
}

func hasServicePort(s object, name string) bool {
	for _, p := range s.list("spec", "ports") {
		if p.text("name") == name {
			return true
		}
	}
	return false
}

// scalerPolicies: one autoscaler per workload, which has no number of its own, and
// whose least is more than a disruption may take.
func (b *bundle) scalerPolicies() {
	scaled := map[string]bool{}
	for _, h := range b.of("HorizontalPodAutoscaler") {
		target := h.text("spec", "scaleTargetRef", "name")
		d := b.named(h.text("spec", "scaleTargetRef", "kind"), target)
		if d == nil {
			b.problem(h, "its target %q is not in the bundle", target)
			continue
		}
		if scaled[target] {
			b.problem(h, "%s has two autoscalers, which undo each other", target)
		}
		scaled[target] = true
		if d.at("spec", "replicas") != nil {
			b.problem(d, "has replicas, which every apply would set back from what the autoscaler chose")
		}
		least, _ := h.number("spec", "minReplicas")
		most, _ := h.number("spec", "maxReplicas")
		if least < 2 || most < least {
			b.problem(h, "minReplicas %d, maxReplicas %d: at least 2, and not more than the most", least, most)
		}
	}
	for _, d := range b.of("Deployment") {
		if d.at("spec", "replicas") == nil && !scaled[d.name()] {
			b.problem(d, "has neither replicas nor an autoscaler")
		}
	}
}

// networkPolicies: every workload is under one, and named ports are there.
func (b *bundle) networkPolicies() {
	for _, n := range b.of("NetworkPolicy") {
		pods := b.pods(n.object("spec", "podSelector", "matchLabels"))
		if len(pods) == 0 {
			b.problem(n, "its podSelector selects no pod of the bundle")
		}
		for _, rule := range n.list("spec", "ingress") {
			for _, p := range rule.list("ports") {
				for _, d := range pods {
					if name := p.text("port"); name != "" && !hasPort(d, name) {
						b.problem(n, "%s has no port %q", d.name(), name)
					}
				}
			}
		}
	}
}
