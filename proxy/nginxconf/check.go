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

// broken reports a script that nginx would start with and then answer 500 or
// 404 for: the configuration must be taken with it.
func (m *importer) broken(d *directive, script *lua) {
	text := script.text
	if script.file != "" {
		path := d.args[0]
		if !filepath.IsAbs(path) {
			path = filepath.Join(m.out.prefix, path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			m.out.broken = true
			m.leave(d, "the file %q cannot be read; requests that come to it are answered 404", d.args[0])
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
		m.leave(d, "it does not compile (%s); requests that come to it are answered 500", message)
	}
}

// catches finds scripts that see the texts of errors themselves: for them the
// names that OpenResty gives to scripts are part of what they work on.
var catches = regexp.MustCompile(`\b(?:x?pcall|traceback|getinfo|coroutine\.(?:resume|wrap))\b`)
