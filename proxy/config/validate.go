package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"perigee/proxy/auth"
	"perigee/proxy/unit"
	"perigee/ratelimit"
)

// checker finds what a single value cannot know to be wrong.
type checker struct {
	*File
	errs   Errors
	before int // errs[:before] came from decoding
}

// report notes a problem with the value at path, unless the decoder has
// refused that value, something in it or something around it: then the problem
// is only an echo.
func (c *checker) report(path, message, hint string) {
	for _, e := range c.errs[:c.before] {
		if e.Path == "" || within(e.Path, path) || within(path, e.Path) {
			return
		}
	}
	c.errs = append(c.errs, c.NewError(path, message, hint))
}

// within says whether path is outer or a place inside it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// problems reports what a feature's Check found.
func (c *checker) problems(path string, problems []unit.Problem) {
	for _, p := range problems {
		at := path
		if p.Path != "" && p.Path[0] != '[' {
			at += "."
		}
		at += p.Path
		c.report(at, p.Message, p.Hint)
	}
}

// check runs all checks.
func (c *checker) check() {
	c.numbers()
	c.variables()
	c.listeners()
	c.admin()
	c.problems("lua", c.Lua.Check())
	c.accessLog("access_log", &c.AccessLog)
	if c.Tracing != nil {
		c.problems("tracing", c.Tracing.Check())
	}
	c.problems("auth", c.Auth.Check())
	c.problems("consumers", auth.CheckConsumers(c.Consumers, c.Auth.Issuers))
	for _, name := range sortedKeys(c.Upstreams) {
		path := unit.Join("upstreams", name)
		if !namePattern.MatchString(name) {
			c.report(path, fmt.Sprintf("upstream name %q is not usable in metrics and logs", name), nameHint)
		}
		if u := c.Upstreams[name]; u != nil {
			c.problems(path, u.Check())
			if u.TLS != nil {
				c.readable(path+".tls.ca", u.TLS.CA)
				c.readable(path+".tls.cert", u.TLS.Cert)
				c.readable(path+".tls.key", u.TLS.Key)
			}
		}
	}
	c.routes()
	c.errorPages("error_pages", c.ErrorPages)
}

const nameHint = "use letters, digits, _, . and -"

var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	variablePattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,63}$`)
)

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// numbers checks plain numbers, sizes and durations against what works at all.
func (c *checker) numbers() {
	if c.Workers < 0 || c.Workers > 1024 {
		c.report("workers", fmt.Sprintf("workers %d is not between 0 and 1024", c.Workers), "write 0 for one per core")
	}
	l := c.Limits
	for _, n := range [...]struct {
		key   string
		value int
	}{{"connections", l.Connections}, {"inflight", l.Inflight}} {
		if n.value < 1 {
			c.report("limits."+n.key, fmt.Sprintf("%s %d would serve nobody", n.key, n.value), "write at least 1")
		}
	}
	if l.KeepaliveRequests < 0 {
		c.report("limits.keepalive_requests", fmt.Sprintf("%d requests are no number of them", l.KeepaliveRequests), "write 0 for any number")
	}
	if l.HeaderBytes < unit.KiB || l.HeaderBytes > unit.MiB {
		c.report("limits.header_bytes", fmt.Sprintf("size %q is not between 1KiB and 1MiB", l.HeaderBytes), "16KiB suits most sites")
	}
	if l.Counters < ratelimit.MinTable || l.Counters > unit.Size(ratelimit.MaxTable) {
		c.report("limits.counters", fmt.Sprintf("size %q is not between %d and %d bytes", l.Counters, int64(ratelimit.MinTable), int64(ratelimit.MaxTable)), "64MiB is room for millions of keys")
	}
	for _, d := range [...]struct {
		key   string
		value unit.Duration
	}{
		{"header_timeout", l.HeaderTimeout}, {"idle_timeout", l.IdleTimeout},
		{"body_timeout", l.BodyTimeout}, {"send_timeout", l.SendTimeout},
	} {
		if d.value <= 0 {
			c.report("limits."+d.key, `duration "0" would close every connection at once`, "remove the key for the default")
		}
	}
}

// names checks that variables can be written in texts.
func (c *checker) names(path string, names []string) {
	for _, name := range names {
		if !variablePattern.MatchString(name) {
			c.report(unit.Join(path, name), fmt.Sprintf("variable name %q cannot be written after a dollar", name), "use lower-case letters, digits and _, not starting with a digit")
		}
	}
}

// listeners checks addresses, of each and against each other, and certificates.
func (c *checker) listeners() {
	if len(c.Listeners) == 0 {
		c.report("listeners", "no listener: nothing would be served", `add listeners: [{address: ":8080"}]`)
	}
	for i, l := range c.Listeners {
		path := item("listeners", i)
		if socket, isUnix := strings.CutPrefix(l.Address, "unix:"); !isUnix {
			c.address(path+".address", l.Address)
		} else if !filepath.IsAbs(socket) {
			c.report(path+".address", fmt.Sprintf("address %q is no absolute path of a socket", l.Address), "write unix:/run/perigee.sock")
		}
		for j, other := range c.Listeners[:i] {
			if clash(other.Address, l.Address) {
				c.report(path+".address", fmt.Sprintf("address %q is taken by listeners[%d] %q", l.Address, j, other.Address), "give each listener a port of its own")
			}
		}
		if l.TLS == nil {
			continue
		}
		if l.TLS.Lua != nil {
			c.problems(path+".tls.lua", l.TLS.Lua.Check())
		}
		if len(l.TLS.Certificates) == 0 && (l.TLS.Lua == nil || l.TLS.Lua.Certificate == nil) {
			c.report(path+".tls", "no certificate", "add certificates: [{cert: site.crt, key: site.key}]")
		}
		for j, pair := range l.TLS.Certificates {
			at := item(path+".tls.certificates", j)
			if pair.Cert == "" || pair.Key == "" {
				c.report(at, "a certificate needs cert and key", "give both files")
			}
			c.readable(at+".cert", pair.Cert)
			c.readable(at+".key", pair.Key)
		}
		c.readable(path+".tls.client_ca", l.TLS.ClientCA)
	}
}

func (c *checker) admin() {
	if !c.Admin.Off() {
		c.address("admin.address", c.Admin.Address)
	}
	if c.Admin.Probes != "" {
		c.address("admin.probes", c.Admin.Probes)
		if clash(c.Admin.Probes, c.Admin.Address) {
			c.report("admin.probes", fmt.Sprintf("address %q is taken by admin.address %q", c.Admin.Probes, c.Admin.Address), "give it a port of its own")
		}
	}
	for i, l := range c.Listeners {
		for _, door := range [...]struct{ path, address string }{{"admin.address", c.Admin.Address}, {"admin.probes", c.Admin.Probes}} {
			if clash(l.Address, door.address) {
				c.report(door.path, fmt.Sprintf("address %q is taken by listeners[%d] %q", door.address, i, l.Address), "give it a port of its own: clients may not reach it")
			}
		}
	}
}

// address checks [host]:port, where host is an IP address or localhost.
func (c *checker) address(path, address string) {
	const fix = `write ":8080", "127.0.0.1:8080" or "[::1]:8080"`
	host, port, err := net.SplitHostPort(address)
	switch {
	case address == "":
		c.report(path, "no address", fix)
		return
	case err != nil:
		c.report(path, fmt.Sprintf("address %q is not host:port", address), fix)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		c.report(path, fmt.Sprintf("address %q has no port between 0 and 65535", address), fix)
	}
	if _, err := netip.ParseAddr(host); host != "" && host != "localhost" && err != nil {
		c.report(path, fmt.Sprintf("address %q names no IP address of this machine", address), fix)
	}
}

// clash says whether two listeners cannot both be opened: same port, and same
// host or one of them on all hosts. Port 0 never clashes.
func clash(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	all := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || all(hostA) || all(hostB)
}

// readable reports a file that is named but cannot be opened.
func (c *checker) readable(path, file string) {
	if file == "" {
		return
	}
	f, err := os.Open(file)
	if err != nil {
		c.report(path, fmt.Sprintf("file %q cannot be read: %v", file, reason(err)), "")
		return
	}
	f.Close()
}

// Templates visits every value of the configuration that has variables in it,
// with its path: what can be evaluated is known to others.
func (f *File) Templates(visit func(path string, t unit.Template)) {
	walk(f.whole(), func(p place) {
		if p.value.Kind() != reflect.Struct {
			return
		}
		switch t := p.value.Interface().(type) {
		case unit.Template:
			if !t.IsZero() {
				visit(p.path, t)
			}
		case interface{ Templates() []unit.Template }:
			for _, part := range t.Templates() {
				visit(p.path, part)
			}
		}
	})
}
