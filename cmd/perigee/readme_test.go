package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestReadme runs the README's curl lines against the demo; the answers must be
// what is printed there. Only the ports are others than the README's, so that
// the test minds nobody who listens on those.
func TestReadme(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing; `make deps-test` installs it")
	}
	listen, origin := freeAddr(t), freeAddr(t)
	ports := strings.NewReplacer("127.0.0.1:8080", listen, "127.0.0.1:9001", origin, `"127.0.0.1:9901"`, `"off"`)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("demo")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "demo.yaml")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, ports.Replace(string(config)))
	r := launch(t, listen, "demo", "-c", path, "-origin", origin)

	lines := readmeLines(t)
	if len(lines) != 5 {
		t.Fatalf("%d curl lines in the README, want 5", len(lines))
	}
	for _, l := range lines {
		command := strings.Replace(l.command, "localhost:8080", listen, 1)
		out, err := exec.Command("sh", "-c", strings.Replace(command, "curl", curl, 1)).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		got := strings.ReplaceAll(string(out), listen, "localhost:8080")
		if got, want := masked(got), masked(l.answer); got != want {
			t.Errorf("%s\nanswers\n%s\nand not\n%s", l.command, got, want)
		}
	}
	if code := r.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.stderr)
	}
}

// shown is a command of the README and what it prints.
type shown struct{ command, answer string }

// readmeLines reads the README's console block.
func readmeLines(t *testing.T) (lines []shown) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```console\n")
	block, _, _ = strings.Cut(block, "```")
	for _, part := range strings.Split("\n"+block, "\n$ ")[1:] {
		command, answer, _ := strings.Cut(part, "\n")
		lines = append(lines, shown{command, answer})
	}
	return lines
}

// changing is what differs from run to run, or with the port's digits.
var changing = regexp.MustCompile(`(?m)^(Date: |X-Request-Id: |Content-Length: |User-Agent: curl/).*$`)

func masked(text string) string {
	text = strings.ReplaceAll(text, "\r", "")
	return strings.TrimRight(changing.ReplaceAllString(text, "$1"), "\n")
}
