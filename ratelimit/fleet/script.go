package fleet

import (
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"time"
)

// newScript computes the digest by which Redis knows a script.
func newScript(text string) *script {
	sum := sha1.Sum([]byte(text))
	return &script{text: text, sha: hex.EncodeToString(sum[:])}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
