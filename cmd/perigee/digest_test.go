package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDigestOfModules compares processes whose configurations and scripts are
// equal, and whose required modules are or are not.
func TestDigestOfModules(t *testing.T) {
	addr, admin := freeAddr(t), freeAddr(t)
	begin := func(answer string) (gateway *running, module string) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "lua"), 0o755); err != nil {
			t.Fatal(err)
		}
		module = filepath.Join(dir, "lua", "policy.lua")
		write(t, module, answer)
		path := filepath.Join(dir, "perigee.yaml")
		write(t, path, fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
access_log: {format: "off"}
lua: {path: "lua/?.lua;;"}
routes: [{name: r, match: {paths: ["/"]}, lua: {content: 'ngx.print(require("policy"))'}}]
`, addr, admin))
		return launch(t, addr, "run", "-watch", "-c", path), module
	}
	// digest is the one that all doors of the running process show.
	digest := func() string {
		t.Helper()
		res, err := http.Get("http://" + admin + "/config")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		d := res.Header.Get("Config-Digest")
		_, ready := get(t, "http://"+admin+"/readyz")
		_, metrics := get(t, "http://"+admin+"/metrics")
		if len(d) != 64 || !strings.Contains(ready, "config "+d) || !strings.Contains(metrics, `perigee_config_digest_info{digest="`+d+`"} 1`) {
			t.Fatalf("/config says %q, /readyz %q", d, ready)
		}
		return d
	}
	gateway, _ := begin(`return "one"`)
	one := digest()
	gateway.end(syscall.SIGTERM)
	gateway, _ = begin(`return "two"`)
	two := digest()
	gateway.end(syscall.SIGTERM)
	if one == two {
		t.Error("a module that differs makes no other digest")
	}
	gateway, module := begin(`return "one"`)
	if again := digest(); again != one {
		t.Errorf("the same module in another folder has digest %s, want %s", again, one)
	}
	// A module is read when it is first required, be it later than the digest.
	if _, body := get(t, "http://"+addr); body != "one" {
		t.Fatalf("%q", body)
	}
	write(t, module+".new", `return "two"`)
	if err := os.Rename(module+".new", module); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a module that has changed was not taken", func() bool {
		_, body := get(t, "http://"+addr)
		return body == "two"
	})
	if now := digest(); now != two {
		t.Errorf("after the reload the digest is %s, want %s", now, two)
	}
	gateway.end(syscall.SIGTERM)
}
