package nginxconf

import (
	"slices"
	"strings"

	"perigee/proxy/unit"
)

// slashes gives each proxied location /path/ the redirect that nginx makes for
// /path, unless there is a location of that very path.
func (m *importer) slashes() {
	for _, r := range m.out.routes {
		p, err := unit.ParsePattern(r.path)
		if err != nil || p.Kind == unit.Regex || p.Kind == unit.RegexFold {
			continue
		}
		bare, slash := strings.CutSuffix(p.Text, "/")
		if !slash || bare == "" || r.upstream+r.target == "" || r.internal || m.exact(bare, r.hosts) {
			continue
		}
		m.out.routes = append(m.out.routes, route{
			name: m.unique(r.name + "-slash"), hosts: r.hosts, path: "= " + bare, typ: r.typ, pages: r.pages, log: r.log, bodySize: r.bodySize,
			respond: &respond{status: 301, location: escape(p.Text) + "$is_args$args"}, add: r.add, lua: behind(r.lua),
		})
	}
}

// exact tells whether a route serves one path alone.
func (m *importer) exact(path string, hosts []string) bool {
	return slices.ContainsFunc(m.out.routes, func(r route) bool {
		p, err := unit.ParsePattern(r.path)
		return err == nil && p.Kind == unit.Exact && p.Text == path && slices.Equal(r.hosts, hosts)
	})
}

// behind are the scripts that run over answers, whoever makes them.
func behind(all map[string]*lua) map[string]*lua {
	some := make(map[string]*lua)
	for _, stage := range []string{"header_filter", "body_filter", "log"} {
		some[stage] = all[stage]
	}
	return some
}
