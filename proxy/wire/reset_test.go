package wire

import (
	"reflect"
	"testing"
	"unsafe"
)

// TestReset finds a field that a new head would have of the one before.
func TestReset(t *testing.T) {
	var request RequestHead
	var response ResponseHead
	fill(unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request)))
	fill(unsafe.Slice((*byte)(unsafe.Pointer(&response)), unsafe.Sizeof(response)))
	request.Fields, response.Fields = make([]Field, 3), make([]Field, 3)
	empty := Head{Fields: []Field{}, ContentLength: -1}
	request.reset()
	if want := (RequestHead{Head: empty}); !reflect.DeepEqual(request, want) {
		t.Errorf("request: %+v, want %+v", request, want)
	}
	response.reset()
	if want := (ResponseHead{Head: empty}); !reflect.DeepEqual(response, want) {
		t.Errorf("response: %+v, want %+v", response, want)
	}
}

func fill(b []byte) {
	for i := range b {
		b[i] = 1
	}
}
