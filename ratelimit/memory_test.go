package ratelimit

import "unsafe"

func unsafeBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
}

func uintptrOf(b *byte) uintptr { return uintptr(unsafe.Pointer(b)) }
