package ratelimit

import (
	"encoding/binary"
	"math/bits"
)

// The hash is XXH64 with a seed, in one go:
// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md.
// It stands here, and not as an import, because the seed is what keeps strangers
// from choosing keys that collide, libraries offer the seed with a streaming
// state only, and C computes the same function beside this one.
const (
	prime1 = 11400714785074694791
	prime2 = 14029467366897019727
	prime3 = 1609587929392839161
	prime4 = 9650029242287828579
	prime5 = 2870177450012600261
)

// Hash is XXH64 of key.
func Hash(key []byte, seed uint64) uint64 {
	var h uint64
	length := uint64(len(key))
	if len(key) >= 32 {
		v1, v2, v3, v4 := seed+prime1+prime2, seed+prime2, seed, seed-prime1
		for len(key) >= 32 {
			v1 = round(v1, binary.LittleEndian.Uint64(key))
			v2 = round(v2, binary.LittleEndian.Uint64(key[8:]))
			v3 = round(v3, binary.LittleEndian.Uint64(key[16:]))
			v4 = round(v4, binary.LittleEndian.Uint64(key[24:]))
			key = key[32:]
		}
		h = bits.RotateLeft64(v1, 1) + bits.RotateLeft64(v2, 7) + bits.RotateLeft64(v3, 12) + bits.RotateLeft64(v4, 18)
		h = merge(merge(merge(merge(h, v1), v2), v3), v4)
	} else {
		h = seed + prime5
	}
	h += length
	for ; len(key) >= 8; key = key[8:] {
		h ^= round(0, binary.LittleEndian.Uint64(key))
		h = bits.RotateLeft64(h, 27)*prime1 + prime4
	}
	if len(key) >= 4 {
		h ^= uint64(binary.LittleEndian.Uint32(key)) * prime1
		h = bits.RotateLeft64(h, 23)*prime2 + prime3
		key = key[4:]
	}
	for _, c := range key {
		h ^= uint64(c) * prime5
		h = bits.RotateLeft64(h, 11) * prime1
	}
	h ^= h >> 33
	h *= prime2
	h ^= h >> 29
	h *= prime3
	return h ^ h>>32
}

func round(acc, input uint64) uint64 {
	return bits.RotateLeft64(acc+input*prime2, 31) * prime1
}

func merge(acc, v uint64) uint64 {
	return (acc^round(0, v))*prime1 + prime4
}
