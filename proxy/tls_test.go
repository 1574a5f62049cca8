package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"testing"
	"time"

	"perigee/proxy/config"
)

func TestCertificatesOfListeners(t *testing.T) {
	certificate := func(common string, end int64, names ...string) tls.Certificate {
		return tls.Certificate{Leaf: &x509.Certificate{
			Subject: pkix.Name{CommonName: common}, DNSNames: names, NotAfter: time.Unix(end, 0),
		}}
	}
	file := &config.File{Listeners: []config.Listener{{Address: ":80"}, {Address: ":443"}, {Address: ":444"}}}
	got := certificates(file, map[string]*tls.Config{
		":80": nil,
		":443": {Certificates: []tls.Certificate{
			certificate("", 200, "a.test", "b.test"), certificate("", 100, "a.test"), certificate("c.test", 300),
		}},
		":444": {Certificates: []tls.Certificate{certificate("", 50, "a.test")}},
	})
	text := ""
	for _, c := range got {
		text += fmt.Sprintf("%s %s %d\n", c.Listener, c.Name, c.NotAfter.Unix())
	}
	if want := ":443 a.test 100\n:443 c.test 300\n:444 a.test 50\n"; text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}
