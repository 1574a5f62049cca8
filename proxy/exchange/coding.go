package exchange

// Coding is what a filter keeps of an answer whose body it encodes.
type Coding interface {
	// Release gives up what it keeps; it is not used any more.
	Release()
}

// DropCoding lets the answer's body, or another one's, go as it is.
func (ex *Exchange) DropCoding() {
	if ex.Coding != nil {
		ex.Coding.Release()
		ex.Coding = nil
	}
}
