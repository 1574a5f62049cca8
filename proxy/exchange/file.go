package exchange

import (
	"sync"

	"perigee/luavm"
	"perigee/proxy/disk"
)

// Ops that may block on the disk: a driver with one thread for many exchanges
// gives them to another.
const (
	// OpLookup answers Exchange.Lookup, beginning with the name Op.Int.
	OpLookup luavm.OpKind = luavm.OpHost + 32 + iota
	// OpReadFile reads the next piece of Exchange.File into Exchange.Chunk.
	OpReadFile
)

// Lookup is what a filter asks the disk.
type Lookup struct {
	disk.Query
	// Asked is which of its questions the filter has put; 0: none yet.
	Asked uint8
}

// reset forgets the question and closes what was found.
func (l *Lookup) reset() {
	l.File.Close()
	clear(l.Names)
	*l = Lookup{Query: disk.Query{Names: l.Names[:0]}}
}

// ReleaseFiles closes what the exchange has open on the disk.
func (ex *Exchange) ReleaseFiles() {
	if ex.Lookup.Asked != 0 {
		ex.Lookup.reset()
	}
	ex.File.Close()
}

// filePiece is how much of a file is in memory at a time.
const filePiece = 64 << 10

var filePieces = sync.Pool{New: func() any { return new([filePiece]byte) }}

// FileBody is an answer's body that is read from a file, whole or in parts.
type FileBody struct {
	disk.File
	parts []FilePart
	text  int // bytes of the first part's text that were given
	mem   *[filePiece]byte
}

// FilePart is a piece of a body: a text, then the file's bytes From to To.
type FilePart struct {
	Text     []byte
	From, To int64
}

// Open makes f the body, all of it. The exchange closes it.
func (b *FileBody) Open(f disk.File) {
	b.Close()
	b.File = f
	b.SetParts(FilePart{To: f.Size})
}

// SetParts makes the body consist of parts.
func (b *FileBody) SetParts(parts ...FilePart) {
	b.parts, b.text = append(b.parts[:0], parts...), 0
}

// AddPart appends a part.
func (b *FileBody) AddPart(p FilePart) { b.parts = append(b.parts, p) }

// Length is how many bytes are still to come.
func (b *FileBody) Length() (n int64) {
	for i := range b.parts {
		n += int64(len(b.parts[i].Text)) + b.parts[i].To - b.parts[i].From
	}
	return n - int64(b.text)
}

// Next reads the next piece. It may block on the disk. The piece is valid until
// the next call; an empty one is the end.
func (b *FileBody) Next() ([]byte, error) {
	if b.mem == nil {
		b.mem = filePieces.Get().(*[filePiece]byte)
	}
	room := b.mem[:]
	for len(b.parts) > 0 && len(room) > 0 {
		p := &b.parts[0]
		if b.text < len(p.Text) {
			n := copy(room, p.Text[b.text:])
			room, b.text = room[n:], b.text+n
			continue
		}
		if p.From == p.To {
			b.parts, b.text = b.parts[1:], 0
			continue
		}
		n := min(int64(len(room)), p.To-p.From)
		if _, err := b.ReadAt(room[:n], p.From); err != nil {
			return nil, err
		}
		room, p.From = room[n:], p.From+n
	}
	return b.mem[:filePiece-len(room)], nil
}

// Close closes the file and gives the memory back.
func (b *FileBody) Close() {
	b.File.Close()
	if b.mem != nil {
		filePieces.Put(b.mem)
	}
	*b = FileBody{}
}
