package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"perigee/proctest"
)

const scriptsExample = "../../kustomize/scripts"

// workflow is what is asked of .github/workflows/scripts.yaml.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		If          string
		Needs       []string
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Steps       []struct {
			Name, Uses, Run, If string
		}
	}
}

func scriptsWorkflow(t *testing.T) (w workflow) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(scriptsExample, ".github/workflows/scripts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestScriptsWorkflow holds the example to least permissions and pinned actions,
// and to its order: nothing is pushed that was not tested, nothing serves that
// was not pushed.
func TestScriptsWorkflow(t *testing.T) {
	w := scriptsWorkflow(t)
	if w.Permissions == nil || len(w.Permissions) != 0 {
		t.Errorf("permissions of all jobs: %v, want {}", w.Permissions)
	}
	pinned := regexp.MustCompile(`^[\w.-]+/[\w.-]+@[0-9a-f]{40}$`)
	for name, want := range map[string]struct{ needs, writes string }{
		"check": {}, "test": {}, "image": {"check test", "packages"}, "canary": {needs: "image"},
	} {
		job, writes := w.Jobs[name], ""
		for scope, access := range job.Permissions {
			if access != "read" {
				writes += scope
			}
		}
		if len(job.Steps) == 0 || job.Timeout == 0 || strings.Join(job.Needs, " ") != want.needs || writes != want.writes {
			t.Errorf("%s: %d steps, %d minutes, needs %v, writes %q; want %+v", name, len(job.Steps), job.Timeout, job.Needs, writes, want)
		}
		for _, s := range job.Steps {
			if s.Uses != "" && !pinned.MatchString(s.Uses) {
				t.Errorf("%s uses %s, which is no commit", name, s.Uses)
			}
			if strings.Contains(s.Run, "${{") { // where a name becomes a command
				t.Errorf("%s: %q has an expression in its shell: pass it by env", name, s.Name)
			}
		}
	}
	if got := w.Jobs["image"].If; got != "github.event_name == 'push'" {
		t.Errorf("image runs if %q", got)
	}
}

// runner does a job's run steps as GitHub's runner does: in a shell that stops at
// errors, with what steps add to the PATH.
type runner struct {
	t              *testing.T
	dir, temp, out string
}

// newRunner copies the example and has a docker whose images hold our binary.
func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{t: t, dir: filepath.Join(t.TempDir(), "scripts"), temp: t.TempDir()}
	if err := os.CopyFS(r.dir, os.DirFS(scriptsExample)); err != nil {
		t.Fatal(err)
	}
	r.tool("docker", fmt.Sprintf(`case $1 in
create) case $2 in *perigee:*) echo id ;; *) exit 125 ;; esac ;;
cp) [ "$2" = id:/usr/bin/perigee ] && cp %s "$3" ;;
rm) echo id ;;
*) exit 1 ;;
esac`, binary))
	return r
}

// tool puts a shell script on the PATH.
func (r *runner) tool(name, script string) {
	r.t.Helper()
	path := filepath.Join(r.temp, "tools", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// job runs steps up to the first that fails, whose name it returns.
func (r *runner) job(name string) (failed string) {
	r.t.Helper()
	added := filepath.Join(r.temp, "path")
	write(r.t, added, "")
	for _, step := range scriptsWorkflow(r.t).Jobs[name].Steps {
		if step.Run == "" {
			continue
		}
		paths, err := os.ReadFile(added)
		if err != nil {
			r.t.Fatal(err)
		}
		path := strings.Join(append(strings.Fields(string(paths)), filepath.Join(r.temp, "tools"), "/usr/bin", "/bin"), ":")
		if !r.shell(step.Run, "PATH="+path, "RUNNER_TEMP="+r.temp, "GITHUB_PATH="+added) {
			return step.Name
		}
	}
	return ""
}

func (r *runner) shell(script string, env ...string) bool {
	cmd := exec.Command("timeout", "60", "bash", "-e", "-c", script)
	cmd.Dir, cmd.Env = r.dir, env
	out, err := cmd.CombinedOutput()
	r.out = string(out)
	return err == nil
}

// TestScriptsJobs runs the steps of the jobs check and test on the example, and
// on the example with a mistake that each of them must find.
func TestScriptsJobs(t *testing.T) {
	const checks, specs = "Check the configuration and compile the scripts", "Run the specs"
	for _, c := range []struct {
		name, job        string
		file, old, wrong string
		failed, out      string
	}{
		{name: "check", job: "check", out: "perigee.yaml: good (digest "},
		{name: "test", job: "test", out: "2 passed, 0 failed, 0 errors, 0 pending"},
		{"script", "check", "lua/greet.lua", "ngx.say(", "ngx.say((", checks, "greet.lua"},
		{"configuration", "check", "perigee.yaml", "routes:", "rotes:", checks, `unknown key "rotes"`},
		{"assertion", "test", "lua/greet_spec.lua", "Hello, Ada", "Hello, Bob", specs, "1 passed, 1 failed"},
		{"behaviour", "test", "lua/access.lua", "^%a+$", "^.*$", specs, "1 passed, 1 failed"},
		{"image", "check", "Dockerfile", "perigee:", "other:", "Take the gateway of the Dockerfile", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t)
			if c.file != "" {
				path := filepath.Join(r.dir, c.file)
				text, err := os.ReadFile(path)
				if err != nil || !strings.Contains(string(text), c.old) {
					t.Fatalf("%s has no %q: %v", path, c.old, err)
				}
				write(t, path, strings.Replace(string(text), c.old, c.wrong, 1))
			}
			if got := r.job(c.job); got != c.failed || !strings.Contains(r.out, c.out) {
				t.Errorf("failed at %q, want %q with %q\n%s", got, c.failed, c.out, r.out)
			}
		})
	}
}

// TestScriptsWatch lets ci/watch.sh judge real gateways.
func TestScriptsWatch(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is not installed (make deps-test)")
	}
	for _, c := range []struct {
		name, target string
		restarts     string
		good         bool
		out          string
	}{
		{"good", "/good", "0", true, " requests in "},
		{"errors", "/bad", "0", false, "more than 1 % are 5xx"},
		{"nobody asks", "", "0", false, "fewer than 5"},
		{"restart", "/good", "$(wc -l <asked)", false, `were "canary:1 " and are "canary:2 "`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, addr, admin := newRunner(t), freeAddr(t), freeAddr(t)
			// A forwarded port is the gateway's here.
			r.tool("kubectl", `case "$1 $2" in
"port-forward deployment/perigee-canary") exec sleep 60 ;;
"get pods") echo >>asked; echo "canary:`+c.restarts+` " ;;
*) exit 1 ;;
esac`)
			config := filepath.Join(r.temp, "perigee.yaml")
			write(t, config, fmt.Sprintf(`listeners: [{address: %q}]
admin: {address: %q}
access_log: {format: "off"}
routes:
  - {name: good, match: {paths: [/good]}, respond: {body: ""}}
  - {name: bad, match: {paths: [/bad]}, respond: {status: 500}}
`, addr, admin))
			startGateway(t, config, addr)
			if c.target != "" {
				go ask(t, "http://"+addr+c.target)
			}
			_, port, _ := strings.Cut(admin, ":")
			good := r.shell("ci/watch.sh perigee-canary", "PATH="+filepath.Join(r.temp, "tools")+":/usr/bin:/bin",
				"PORT="+port, "SECONDS_WATCHED=4", "LEAST=5")
			if good != c.good || !strings.Contains(r.out, c.out) {
				t.Errorf("good: %v, want %v and %q\n%s", good, c.good, c.out, r.out)
			}
		})
	}
}

// ask sends requests until the test's gateway is gone.
func ask(t *testing.T, url string) {
	for t.Context().Err() == nil {
		if res, err := http.Get(url); err == nil {
			_ = res.Body.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func startGateway(t *testing.T, config, addr string) {
	t.Helper()
	cmd := exec.Command(binary, "run", "-c", config)
	cmd.Stderr = t.Output()
	t.Cleanup(func() { _ = cmd.Wait() })
	proctest.Start(t, cmd)
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get("http://" + addr + "/good"); err == nil {
			_ = res.Body.Close()
			return
		} else if time.Now().After(until) {
			t.Fatal(err)
		}
	}
}
