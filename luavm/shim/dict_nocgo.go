//go:build !cgo || !luajit

package shim

// A Dict cannot be had in this build.
type Dict struct{}

// OpenDict refuses: this build has no shared dictionaries.
func OpenDict(string, int64) (*Dict, error) { return nil, errNoLua }

// Close does nothing.
func (*Dict) Close() {}

// Stats is empty.
func (*Dict) Stats() DictStats { return DictStats{} }

// Check finds nothing.
func (*Dict) Check() error { return nil }

// Provide refuses.
func (*State) Provide([]*Dict) error { return errNoLua }
