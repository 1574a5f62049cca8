package shim

// DictStats are the counters of a shared dictionary.
type DictStats struct {
	Capacity uint64 // bytes, as declared
	Free     uint64 // bytes in pages that nothing uses yet
	Items    uint64 // keys, expired ones included
	Evicted  uint64 // valid items that had to go for others
	Expired  uint64 // items dropped after their time
	Refused  uint64 // operations that ended with "no memory"
}
