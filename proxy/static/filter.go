package static

import (
	"strconv"
	"strings"

	"perigee/proxy/disk"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// Report writes to the gateway's log.
type Report func(level observe.Level, ex *exchange.Exchange, message string)

// Filter answers with files in the content stage and cuts them to ranges in the
// header stage.
type Filter struct {
	config Config
	place  place
	types  types
	links  disk.Links
	report Report
}

// New makes the filter of a checked configuration. paths are the route's
// patterns; dir is where relative paths start.
func New(c Config, paths []unit.Pattern, dir string, report Report) *Filter {
	return &Filter{
		config: c, place: newPlace(&c, paths, dir), types: newTypes(&c), report: report,
		links: map[Symlinks]disk.Links{
			SymlinksInside: disk.LinksInside, SymlinksFollow: disk.LinksAny, SymlinksRefuse: disk.LinksNone,
		}[c.Symlinks],
	}
}

// Root is where files are looked for, as far as no request decides it.
func (f *Filter) Root() string { return f.place.root }

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "static" }

// The questions that a request puts to the disk, in their order.
const (
	begin  uint8 = iota
	trying       // which of try_files exists
	index        // which index of a directory exists
	opening
)

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if stage == exchange.Header {
		return f.ranges(ex)
	}
	if ex.Lookup.Asked != begin && ex.Take(exchange.OpLookup) == nil {
		return exchange.Wait
	}
	switch ex.Lookup.Asked {
	case begin:
		if len(f.config.TryFiles) > 0 {
			return f.try(ex)
		}
	case trying:
		return f.tried(ex)
	case index:
		return f.indexed(ex)
	case opening:
		return f.opened(ex)
	}
	return f.content(ex)
}

// ask posts a question about the names of some paths, which are below one root.
func (f *Filter) ask(ex *exchange.Exchange, question uint8, paths []string, kind func(path string) disk.Kind) exchange.Verdict {
	l := &ex.Lookup
	l.File.Close()
	l.Names = l.Names[:0]
	for _, path := range paths {
		root, name, asked, ok := f.place.name(ex, path)
		if !ok {
			f.report(observe.LevelError, ex, `the alias does not stand for the path "`+path+`", which was rewritten`)
			return fail(ex, 500)
		}
		n := disk.Name{Path: name, Kind: kind(path)}
		if !f.config.Hidden && hidden(asked) {
			n.Kind = disk.Refused
		}
		l.Root = root
		l.Names = append(l.Names, n)
	}
	l.Asked, l.Links, l.Test = question, f.links, question != opening
	ex.Post(exchange.OpLookup)
	return exchange.Wait
}

// try asks for the entries of try_files but the last.
func (f *Filter) try(ex *exchange.Exchange) exchange.Verdict {
	return f.ask(ex, trying, f.candidates(ex), func(path string) disk.Kind {
		if strings.HasSuffix(path, "/") {
			return disk.Directory
		}
		return disk.Other
	})
}

// candidates are the paths of try_files but the last. Under an alias those that
// do not begin with what it stands for are below it all the same.
func (f *Filter) candidates(ex *exchange.Exchange) []string {
	list := make([]string, 0, len(f.config.TryFiles)-1)
	for _, t := range f.config.TryFiles[:len(f.config.TryFiles)-1] {
		path := string(ex.AppendTemplate(nil, t))
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		if _, ok := f.place.prefix(path); !ok {
			own, _ := f.place.prefix(string(ex.Path))
			path = strings.TrimSuffix(own, "/") + path
		}
		list = append(list, path)
	}
	return list
}

// tried goes on with the path that exists, or with the last entry.
func (f *Filter) tried(ex *exchange.Exchange) exchange.Verdict {
	l := &ex.Lookup
	paths := f.candidates(ex)
	if l.Err != nil {
		// As good as not there, but worth a line.
		f.report(observe.LevelError, ex, describe(l, l.Err))
		ex.Post(exchange.OpLookup).Int = int32(l.At + 1)
		return exchange.Wait
	}
	if l.At < len(paths) {
		l.File.Close()
		ex.Path = append(ex.Path[:0], paths[l.At]...)
		ex.Rewritten, ex.Stale = true, true
		return f.content(ex)
	}
	last := f.config.TryFiles[len(f.config.TryFiles)-1]
	text := last.String()
	switch {
	case strings.HasPrefix(text, "="):
		status, _ := strconv.Atoi(text[1:])
		return answer(ex, status)
	case strings.HasPrefix(text, "@"):
		ex.Jump = text[1:]
		return exchange.Restart
	}
	path, query, _ := strings.Cut(string(ex.AppendTemplate(nil, last)), "?")
	ex.SetQuery([]byte(query))
	return again(ex, path)
}

// again matches another path.
func again(ex *exchange.Exchange, path string) exchange.Verdict {
	ex.Path = append(ex.Path[:0], path...)
	ex.Rewritten, ex.Stale = true, true
	return exchange.Restart
}

// content looks for an index, or opens the file.
func (f *Filter) content(ex *exchange.Exchange) exchange.Verdict {
	path := string(ex.Path)
	if !allowed(ex, true) {
		return notAllowed(ex)
	}
	kind := func(string) disk.Kind { return disk.Any }
	if !strings.HasSuffix(path, "/") {
		return f.ask(ex, opening, []string{path}, kind)
	}
	var paths []string
	for _, t := range f.config.Index {
		name := string(ex.AppendTemplate(nil, t))
		if strings.HasPrefix(name, "/") {
			break // asked for when no other is there
		}
		paths = append(paths, path+name)
	}
	return f.ask(ex, index, append(paths, path), kind)
}

// indexed matches the index that exists as if it had been asked for.
func (f *Filter) indexed(ex *exchange.Exchange) exchange.Verdict {
	l := &ex.Lookup
	path := string(ex.Path)
	switch {
	case l.Err != nil:
		return f.refuse(ex, l.Err)
	case l.At == len(l.Names):
		return f.missing(ex)
	case l.At < len(l.Names)-1:
		return again(ex, path+string(ex.AppendTemplate(nil, f.config.Index[l.At])))
	case l.At < len(f.config.Index):
		return again(ex, string(ex.AppendTemplate(nil, f.config.Index[l.At])))
	}
	f.report(observe.LevelError, ex, `directory index of "`+where(l)+`" is forbidden: none of the index files is in it`)
	return fail(ex, 403)
}

// opened answers with the file.
func (f *Filter) opened(ex *exchange.Exchange) exchange.Verdict {
	l := &ex.Lookup
	switch {
	case l.Err != nil:
		return f.refuse(ex, l.Err)
	case l.At == len(l.Names):
		return f.missing(ex)
	case l.File.Directory:
		return redirect(ex)
	case !l.File.Regular:
		f.report(observe.LevelCrit, ex, `"`+where(l)+`" is not a regular file`)
		return fail(ex, 404)
	case !allowed(ex, false):
		return notAllowed(ex)
	}
	f.head(ex, &l.File)
	ex.File.Open(l.File)
	l.File = disk.File{} // it is the body's now
	return exchange.Respond
}

// allowed tells whether the request's method asks for a file. nginx finds out
// that POST does not only when there is a file.
func allowed(ex *exchange.Exchange, post bool) bool {
	switch string(ex.Req.Method()) {
	case "GET", "HEAD":
		return true
	case "POST":
		return post
	}
	return false
}

func notAllowed(ex *exchange.Exchange) exchange.Verdict {
	ex.Early().Set("Allow", []byte("GET, HEAD"))
	return fail(ex, 405)
}

// missing answers for a file that is not there. It is no fault of the gateway's:
// the access log has it.
func (f *Filter) missing(ex *exchange.Exchange) exchange.Verdict {
	l := &ex.Lookup
	l.At = max(0, len(l.Names)-1)
	f.report(observe.LevelInfo, ex, `open() "`+where(l)+`" failed (2: No such file or directory)`)
	return fail(ex, 404)
}

// refuse answers for a file that cannot be opened.
func (f *Filter) refuse(ex *exchange.Exchange, err error) exchange.Verdict {
	if disk.Forbidden(err) {
		f.report(observe.LevelError, ex, describe(&ex.Lookup, err))
		return fail(ex, 403)
	}
	f.report(observe.LevelCrit, ex, describe(&ex.Lookup, err))
	return fail(ex, 500)
}

func describe(l *exchange.Lookup, err error) string {
	return `open() "` + where(l) + `" failed: ` + err.Error()
}

// where is the path of the name that was asked for last.
func where(l *exchange.Lookup) string {
	return strings.TrimRight(l.Root, "/") + "/" + strings.TrimLeft(l.Names[l.At].Path, "/")
}

func fail(ex *exchange.Exchange, status int) exchange.Verdict {
	ex.FailStatus = status
	return exchange.Fail
}
