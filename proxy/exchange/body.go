package exchange

import (
	"os"
	"slices"
	"strconv"

	"perigee/luavm"
)

// BodyFile is a request body that is in a file: what was read is longer than
// Exchange.BodyBuffer, or a script has said so. The zero value is none.
type BodyFile struct {
	Path string
	Size int64
}

// Set tells whether the body is in a file.
func (b *BodyFile) Set() bool { return b.Path != "" }

// BodyLength is the length of the body that was read or set, wherever it is.
func (ex *Exchange) BodyLength() int64 {
	if ex.BodyFile.Set() {
		return ex.BodyFile.Size
	}
	return int64(len(ex.Body))
}

// EditBody carries out a script's edit of the body; aux is luavm.BodyText and
// its like.
func (ex *Exchange) EditBody(aux uint32, name, value []byte) {
	switch aux {
	case luavm.BodyText:
		ex.Body = append(ex.Body[:0], value...)
		ex.BodyFile = BodyFile{}
		ex.BodyRead = true
	case luavm.BodyBegun:
		ex.OwnFile(string(value))
	case luavm.BodyFile, luavm.BodyTemp:
		size, _ := strconv.ParseInt(text(name), 10, 64)
		ex.Body = ex.Body[:0]
		ex.BodyFile = BodyFile{Path: string(value), Size: size}
		ex.BodyRead = true
		if aux == luavm.BodyTemp {
			ex.OwnFile(ex.BodyFile.Path)
		}
	}
}

// OwnFile makes a file of the exchange's body go with it.
func (ex *Exchange) OwnFile(path string) {
	if !ex.Owns(path) {
		ex.owned = append(ex.owned, path)
	}
}

// Owns tells whether a file goes with the exchange.
func (ex *Exchange) Owns(path string) bool { return slices.Contains(ex.owned, path) }

// removeOwned removes the files of the exchange's bodies. Scripts have removed
// those that they have replaced.
func (ex *Exchange) removeOwned() {
	for _, path := range ex.owned {
		_ = os.Remove(path)
	}
	clear(ex.owned)
	ex.owned = ex.owned[:0]
}
