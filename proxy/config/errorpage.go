package config

import (
	"fmt"
	"strconv"
	"strings"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// ErrorPage is one entry of error_pages: a path, or a mapping with one of path,
// route and redirect.
type ErrorPage struct {
	// Path is matched again, as GET; internal routes count. Variables are
	// evaluated, and it may have a query.
	Path unit.Template `yaml:"path,omitempty" config:"short"`
	// Route is the name of a route that goes on with the request as it is.
	// nginx: error_page ... @name.
	Route string `yaml:"route,omitempty"`
	// Redirect is the address that the client is sent to, with 302 unless
	// status says another number.
	Redirect unit.Template `yaml:"redirect,omitempty"`
	// Status is what the client is told: keep (default) the status that the page
	// is for, page for the status that the page answers with, or a number.
	// nginx: error_page ... =code.
	Status string `yaml:"status,omitempty"`
}

// ErrorFormat names the form of an answer for a status.
type ErrorFormat string

// The forms.
const (
	ErrorText ErrorFormat = "text"
	ErrorHTML ErrorFormat = "html"
)

// Values are the words that are accepted.
func (ErrorFormat) Values() []string { return []string{string(ErrorText), string(ErrorHTML)} }

// Page is the entry as exchanges use it.
func (p *ErrorPage) Page() exchange.ErrorPage {
	page := exchange.ErrorPage{Path: p.Path, Route: p.Route, Redirect: p.Redirect}
	switch p.Status {
	case "", "keep":
	case "page":
		page.Status = exchange.OwnStatus
	default:
		page.Status, _ = strconv.Atoi(p.Status)
	}
	return page
}

// Pages are all entries as exchanges use them.
func Pages(pages map[int]ErrorPage) map[int]exchange.ErrorPage {
	made := make(map[int]exchange.ErrorPage, len(pages))
	for status, page := range pages {
		made[status] = page.Page()
	}
	return made
}

// errorPages checks statuses and that each page is served by some route.
func (c *checker) errorPages(at string, pages map[int]ErrorPage) {
	for status, page := range pages {
		path := unit.Join(at, fmt.Sprint(status))
		if status < 300 || status > 599 {
			c.report(path, fmt.Sprintf("status %d is no error", status), "write 300 to 599")
		}
		given := 0
		for _, there := range []bool{!page.Path.IsZero(), page.Route != "", !page.Redirect.IsZero()} {
			if there {
				given++
			}
		}
		if given != 1 {
			c.report(path, "an error page is one of path, route and redirect", "keep one of them")
			continue
		}
		c.pageStatus(path+".status", page)
		c.page(path, page)
	}
}

func (c *checker) page(path string, page ErrorPage) {
	target := page.Path.String()
	switch {
	case page.Route != "":
		for i := range c.Routes {
			if c.Routes[i].Name == page.Route {
				return
			}
		}
		c.report(path+".route", fmt.Sprintf("there is no route %q", page.Route), "name one of routes")
	case target == "" || strings.HasPrefix(target, "$"):
	case !strings.HasPrefix(target, "/"):
		c.report(path, fmt.Sprintf("page %q is not a path", target), "write a path that a route serves, such as /oops")
	case !strings.Contains(target, "$") && !c.served(target):
		c.report(path, fmt.Sprintf("no route serves the page %q", target), "add a route for it; internal: true keeps clients away")
	}
}

func (c *checker) pageStatus(path string, page ErrorPage) {
	switch page.Status {
	case "", "keep":
		return
	case "page":
		if !page.Redirect.IsZero() {
			c.report(path, "a redirect has no status of its own", "write 301, 302, 303, 307 or 308")
		}
		return
	}
	n, err := strconv.Atoi(page.Status)
	switch {
	case err != nil || n < 200 || n > 599:
		c.report(path, fmt.Sprintf("status %q is none of keep, page and a number", page.Status), "write keep, page or 200 to 599")
	case !page.Redirect.IsZero() && n != 301 && n != 302 && n != 303 && n != 307 && n != 308:
		c.report(path, fmt.Sprintf("status %d is no redirect", n), "write 301, 302, 303, 307 or 308")
	}
}

// served says whether some route takes the path, whatever the host.
func (c *checker) served(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	for i := range c.Routes {
		patterns := c.Routes[i].Match.Paths
		if len(patterns) == 0 {
			return true
		}
		for _, p := range patterns {
			if p.Match([]byte(path)) {
				return true
			}
		}
	}
	return false
}
