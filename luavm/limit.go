package luavm

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"perigee/luavm/shim"
)

// Limit is a limit that scripts ask with perigee.limit.
type Limit struct {
	Name string
	// Words are the limit's public layout, package ratelimit's Layout.
	Words shim.LimitWords
	// Keep holds on to what owns the memory that Words names.
	Keep any
}

// packedLimits are limits as lualib/ngx/limit.lua reads them: a pg_limit, which
// ends with the length of the name, then the name.
func packedLimits(limits []Limit) string {
	var text strings.Builder
	for _, l := range limits {
		words := l.Words
		words[len(words)-1] |= uint64(len(l.Name)) << 32
		for _, w := range words {
			var b [unsafe.Sizeof(w)]byte
			binary.NativeEndian.PutUint64(b[:], w)
			text.Write(b[:])
		}
		text.WriteString(l.Name)
	}
	return text.String()
}
