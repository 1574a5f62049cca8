package e2e

import (
	"flag"
	"os"
	"runtime"
	"testing"
)

var (
	binaries  = flag.String("control-plane", "", "`DIR` with kube-apiserver and the others (.ci/controlplane.sh)")
	crds      = flag.String("crds", "", "`DIR` with the Prometheus operator's CustomResourceDefinitions")
	perigee   = flag.String("perigee", "../../bin/perigee", "the gateway")
	k6        = flag.String("k6", "", "`PATH` of k6")
	reportDir = flag.String("report", "", "`DIR` for the report; default none")
)

// The main thread stays in the network namespace that the test was started in:
// pods' interfaces are handed to it by the number of the process.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if spec := os.Getenv(containerEnv); spec != "" {
		becomeContainer(spec)
	}
	flag.Parse()
	os.Exit(m.Run())
}
