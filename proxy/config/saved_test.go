package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSavedConfigurationNeedsNoFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SAVED_TEST_BODY", "from the environment")
	put("a.lua", "ngx.say('a')")
	put("perigee.yaml", `
listeners: [{address: ":8080"}]
routes:
  - {name: a, match: {paths: ["/a"]}, lua: {content: {file: a.lua}}}
  - {name: b, match: {paths: ["/b"]}, respond: {body: "${SAVED_TEST_BODY}"}}
`)
	before, err := Load(filepath.Join(dir, "perigee.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := before.Save()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(saved.Text, "from the environment") {
		t.Error("a value of the environment was saved")
	}
	put("a.lua", "broken (")
	put("perigee.yaml", "broken: [")
	after, err := Restore(saved)
	if err != nil {
		t.Fatal(err)
	}
	if after.Digest() != before.Digest() || after.Routes[0].Lua.Content.Text != "ngx.say('a')" {
		t.Errorf("restored %s with %q, saved %s", after.Digest(), after.Routes[0].Lua.Content.Text, before.Digest())
	}
	saved.Scripts = nil
	if _, err := Restore(saved); err == nil || !strings.Contains(err.Error(), "a.lua") {
		t.Errorf("a script that was not saved: %v", err)
	}
}
