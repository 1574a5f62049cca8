package nginxconf

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/static"
)

// files is what a block and those around it say of files.
type files struct {
	root, alias string
	index       []string
	types       []mediaType
	charset     string
	noETag      bool
	modified    string // if_modified_since
	ranges      string // max_ranges
	links       string // symlinks
	typ         string // default_type
	given       bool   // root or alias is

	bodyBuffer string // client_body_buffer_size

	// try belongs to the block itself.
	try *directive
}

// mediaType is a line of a types block.
type mediaType struct {
	media   string
	endings []string
}

// nginxFiles are nginx's defaults: its own table of types has three lines, the
// rest comes from mime.types.
func nginxFiles() files {
	return files{
		root: "html", index: []string{"index.html"}, links: "follow",
		types: []mediaType{{"text/html", []string{"html"}}, {"image/gif", []string{"gif"}}, {"image/jpeg", []string{"jpg"}}},
	}
}

// files carries over a directive about files. False: it is about something
// else.
func (m *importer) files(d *directive, s *scope) bool {
	f := &s.files
	switch d.name {
	case "root", "alias":
		m.place(d, s)
	case "index":
		m.index(d, s)
	case "try_files":
		f.try = d
	case "types":
		f.types = nil
		for _, line := range d.block {
			f.types = append(f.types, mediaType{line.name, line.args})
		}
	case "charset":
		if f.charset = d.arg(0); f.charset == "off" {
			f.charset = ""
		}
	case "etag":
		f.noETag = d.arg(0) == "off"
	case "if_modified_since":
		if f.modified = d.arg(0); f.modified == "exact" {
			f.modified = ""
		}
	case "max_ranges":
		f.ranges = d.arg(0)
	case "disable_symlinks":
		f.links = map[string]string{"on": "refuse", "off": "follow"}[d.arg(0)]
		if f.links == "" || len(d.args) > 1 {
			m.leave(d, "links are refused or not, whoever owns them")
			f.links = "refuse"
		}
	case "autoindex":
		if d.arg(0) != "off" {
			m.leave(d, "a directory without an index is answered 403")
		}
	case "client_body_buffer_size", "client_body_in_file_only":
		m.bodyBuffer(d, f)
	case "client_body_temp_path":
		m.out.bodyTemp = escape(d.arg(0))
	case "absolute_redirect":
		m.out.relative = m.out.relative || d.arg(0) == "off"
	case "expires":
		m.leave(d, "has no equivalent yet")
	default:
		return speaksOfSpeed(d.name)
	}
	return true
}

// speaksOfSpeed are directives about how files are read, and about the form of
// addresses in redirects, which are paths here.
func speaksOfSpeed(name string) bool {
	switch name {
	case "open_file_cache", "open_file_cache_valid", "open_file_cache_errors", "open_file_cache_min_uses",
		"directio", "directio_alignment", "aio", "output_buffers", "sendfile_max_chunk", "read_ahead",
		"log_not_found", "port_in_redirect", "server_name_in_redirect":
		return true
	}
	return false
}

// bodyBuffer carries over how much of a request body is kept in memory.
func (m *importer) bodyBuffer(d *directive, f *files) {
	text, ok := size(d.arg(0))
	switch {
	case d.name == "client_body_in_file_only" && d.arg(0) == "off":
	case d.name == "client_body_in_file_only":
		if f.bodyBuffer = "0"; d.arg(0) == "on" {
			m.leave(d, "the files of request bodies go with their requests")
		}
	case !ok:
		m.leave(d, "%q is no size", d.arg(0))
	default:
		f.bodyBuffer = text
	}
}

func (m *importer) place(d *directive, s *scope) {
	f := &s.files
	text, err := template(d.arg(0))
	if f.given = true; s.own != nil {
		s.own["alias"] = true
	}
	switch {
	case err != nil:
		m.leave(d, "%v", err)
	case d.name == "root":
		f.root, f.alias = text, ""
	default:
		f.alias = text
	}
}

// index adds names to the list of its block, which replaces that of the block
// around.
func (m *importer) index(d *directive, s *scope) {
	if s.own == nil || !s.own[d.name] {
		s.files.index = nil
	}
	if s.own != nil {
		s.own[d.name] = true
	}
	for _, name := range d.args {
		text, err := template(name)
		if err != nil {
			m.leave(d, "%v", err)
			continue
		}
		s.files.index = append(s.files.index[:len(s.files.index):len(s.files.index)], text)
	}
}

// try carries try_files over for a route that serves files.
func (m *importer) try(d *directive) []string {
	var list []string
	for i, arg := range d.args {
		text, err := template(arg)
		last := i == len(d.args)-1
		switch {
		case err != nil:
			m.leave(d, "%v", err)
			return nil
		case last && strings.HasPrefix(arg, "@"):
			if m.named[arg] == "" {
				m.leave(d, "there is no location %s", arg)
				return nil
			}
			text = "@" + m.named[arg]
		case last && strings.HasPrefix(arg, "="):
			if n, err := strconv.Atoi(arg[1:]); err != nil || n != 204 && (n < 300 || n > 599) {
				m.leave(d, "%s is no status that can be answered", arg)
				return nil
			}
		}
		list = append(list, text)
	}
	return list
}

// there tells whether files can be served: where nobody names a folder, nginx's
// own often is not there, and then everything is answered 404.
func (m *importer) there(f *files) bool {
	info, err := os.Stat(filepath.Join(m.out.prefix, f.root))
	return f.given || err == nil && info.IsDir()
}

// serve makes r answer with files: what nginx does where no directive says
// otherwise.
func (m *importer) serve(d *directive, r *route, s scope) {
	f := s.files
	if !m.there(&f) {
		return
	}
	if f.typ = s.typ; f.typ == "" {
		f.typ = "text/plain"
	}
	if f.alias != "" && !s.own["alias"] {
		m.leave(d, "the alias of the location around it stands for another path")
		f.alias = ""
	}
	r.static = &f
	if f.try != nil {
		r.try = m.try(f.try)
	}
}

// untried lists a try_files in front of another content than files.
func (m *importer) untried(s scope) {
	if s.files.try != nil {
		m.leave(s.files.try, "it stands in front of files alone")
	}
}

// yaml writes a static block.
func (f *files) yaml(try []string) *yaml.Node {
	b := newMapping()
	if f.alias != "" {
		b.text("alias", f.alias)
	} else {
		b.text("root", f.root)
	}
	if !slices.Equal(f.index, []string{"index.html"}) {
		b.add("index", list(f.index, yaml.FlowStyle))
	}
	b.add("try_files", list(try, yaml.FlowStyle))
	extra, whole := f.table()
	types := newMapping()
	types.node.Style = yaml.FlowStyle
	for _, t := range extra {
		types.add(t.media, list(t.endings, yaml.FlowStyle))
	}
	b.add("types", types.node)
	if !whole {
		b.plain("builtin_types", "false")
	}
	if f.typ != "application/octet-stream" {
		b.text("default_type", escape(f.typ))
	}
	if f.noETag {
		b.plain("etag", "false")
	}
	b.plain("max_ranges", f.ranges)
	b.text("symlinks", f.links)
	b.plain("hidden", "true") // nginx serves them
	return b.node
}

// table is what perigee has to be told of types. whole: it may use its own
// table, all of which is in nginx's.
func (f *files) table() (extra []mediaType, whole bool) {
	own := static.BuiltinTypes()
	missing := len(own)
	for _, t := range f.types {
		var fresh []string
		for _, ending := range t.endings {
			if own[ending] == t.media {
				missing--
				continue
			}
			fresh = append(fresh, ending)
		}
		if len(fresh) > 0 {
			extra = append(extra, mediaType{t.media, fresh})
		}
	}
	if missing > 0 {
		return f.types, false
	}
	return extra, true
}
