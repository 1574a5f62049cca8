//go:build !cgo || !luajit

package luavm

import (
	"strings"
	"testing"
)

func TestRefusesWithoutLuaJIT(t *testing.T) {
	_, err := NewPool(Options{})
	if err == nil || !strings.Contains(err.Error(), "built without LuaJIT") {
		t.Errorf("NewPool: %v", err)
	}
}
