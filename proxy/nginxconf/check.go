package nginxconf

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"

	"perigee/luavm"
)

// compiler tells whether Lua compiles. Where no LuaJIT is linked it finds
// nothing wrong: perigee run will.
type compiler struct {
	pool   *luavm.Pool
	opened bool
}

func (c *compiler) check(text string) error {
	if !c.opened {
		c.opened = true
		c.pool, _ = luavm.NewPool(luavm.Options{Workers: 1})
	}
	if c.pool == nil {
		return nil
	}
	_, err := c.pool.Add(luavm.Source{Name: "import", Chunk: "=script", Text: text})
	return err
}

func (c *compiler) close() {
	if c.pool != nil {
		c.pool.Close()
	}
}

// outcome is what comes of a script that cannot run.
type outcome struct{ missing, broken string }

var (
	answered = outcome{"requests that come to it are answered 404", "requests that come to it are answered 500"}
	logged   = outcome{"that is logged at the start", "that is logged at the start"}
)

// broken reports a script that nginx would start with all the same: the
// configuration must be taken with it.
func (m *importer) broken(d *directive, script *lua, then outcome) {
	text := script.text
	if script.file != "" {
		path := d.args[0]
		if !filepath.IsAbs(path) {
			path = filepath.Join(m.out.prefix, path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			m.out.broken = true
			m.leave(d, "the file %q cannot be read; %s", d.args[0], then.missing)
			return
		}
		text = string(data)
	}
	if err := m.compiler.check(text); err != nil {
		var why *luavm.ScriptError
		message := err.Error()
		if errors.As(err, &why) {
			message = why.Message
		}
		m.out.broken = true
		m.leave(d, "it does not compile (%s); %s", message, then.broken)
	}
}

// catches finds scripts that see the texts of errors themselves: for them the
// names that OpenResty gives to scripts are part of what they work on.
var catches = regexp.MustCompile(`\b(?:x?pcall|traceback|getinfo|coroutine\.(?:resume|wrap))\b`)
