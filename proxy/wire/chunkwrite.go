package wire

// AppendChunkHeader appends the size line of a chunk with n > 0 bytes of data.
// Behind the data goes CRLF: see AppendChunkEnd. n == 0 would end the body, so
// it appends nothing.
func AppendChunkHeader(dst []byte, n int) []byte {
	if n <= 0 {
		return dst
	}
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return append(dst, '\r', '\n')
}

// AppendChunkEnd appends the CRLF behind a chunk's data.
func AppendChunkEnd(dst []byte) []byte { return append(dst, '\r', '\n') }

// AppendFinalChunk appends the last chunk with an empty trailer section.
func AppendFinalChunk(dst []byte) []byte { return append(dst, "0\r\n\r\n"...) }

// AppendFinalChunkTrailers appends the last chunk and the given trailer fields
// of text, as Chunks.Trailers returns them.
func AppendFinalChunkTrailers(dst, text []byte, fields []Field) []byte {
	dst = append(dst, '0', '\r', '\n')
	for _, f := range fields {
		dst = append(dst, f.Name.Of(text)...)
		dst = append(dst, ':', ' ')
		dst = append(dst, f.Value.Of(text)...)
		dst = append(dst, '\r', '\n')
	}
	return append(dst, '\r', '\n')
}
