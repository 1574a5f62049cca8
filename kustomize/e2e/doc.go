// Package e2e runs the manifests of kustomize/ on a real control plane: etcd,
// kube-apiserver, kube-controller-manager (with the HorizontalPodAutoscaler's
// controller), kube-scheduler and kubectl. Everything is in its tests.
//
//	            k6 --- POST ---> splitter --- TCP ---> pod 10.244.0.N:8080
//	                             (ClusterIP)            perigee run -c ...
//	                                 ^                   ^        |
//	                  EndpointSlices |       starts, probes,      | /proc/PID/stat,
//	                                 |       drains, kills        | :9902/metrics
//	etcd <--> kube-apiserver <-------+------------- node agent <--+
//	             ^     ^                                  |
//	             |     +--- metrics.k8s.io, custom.metrics.k8s.io
//	kube-controller-manager, kube-scheduler
//
// What stands in for parts of a node that need more than a network namespace:
//
//   - agent: a kubelet for these manifests. Each pod has a network namespace with
//     an address on a bridge, each container a mount namespace with a read-only
//     root, its volumes, its user, its arguments. No cgroups: limits are not
//     enforced. Probes, preStop, grace period and restarts are the kubelet's.
//   - splitter: kube-proxy. It never looks into a connection and never repeats one.
//   - metrics: metrics-server and Prometheus Adapter. Values are the processes'
//     own, means of a few seconds rather than of half a minute.
//
// TestOverlays needs no privileges; the others want root, in namespaces of their
// own (make e2e-k8s).
package e2e
