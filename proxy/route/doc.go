// Package route finds the route of a request.
//
// A Table is built once per configuration from rules and is immutable. What it
// returns is the index of a rule: it knows nothing of what a route does.
//
// # Order
//
// A rule fits a request when its listener, its host, one of its paths, its
// methods and all its predicates do. Of several that fit, one serves:
//
//  1. The highest Priority (0 unless it is set).
//  2. The host: an exact name, then the longest wildcard, then the expressions
//     in file order, then the rules that name no host.
//  3. The path, as nginx chooses a location: an exact pattern wins at once;
//     else the longest prefix is remembered, and wins if it is final (^~); else
//     the first expression in file order wins; else the remembered prefix. A
//     rule without paths counts as the shortest of all prefixes.
//  4. File order.
//
// Rules that do not fit are as if they were not there, which is where this
// goes beyond nginx, whose locations and servers have no predicates: when the
// longest prefix asks for another method or header, the next longest takes its
// place, final or not; and a request that no rule of its exact host fits is
// offered to the rules of the wildcards, of the expressions, and of every host.
//
// When nothing fits, but something would with another method, the outcome is
// WrongMethod (405, with Table.Allowed for the Allow header), else NotFound.
// An internal rule that wins a request from outside makes the outcome Internal,
// which is a 404 too: as in nginx, it hides what lies below it.
//
// # Shape
//
//	Table ─ level (one per priority, highest first)
//	          ├ exact      "api.example.com" ─┐
//	          ├ wildcards  ".example.com"    ─┤
//	          ├ regexes    re, re, ...       ─┼─ paths ─┬ tree: prefix and exact
//	          └ any                          ─┘         └ regexes in file order
//
// The tree is a radix tree over bytes. Each node knows the nearest node above
// it that holds prefixes, so one walk down finds the exact patterns and the
// longest prefix, and shorter ones are a chain of pointers.
//
// A match does not allocate, with two exceptions: a host with capitals is
// copied, and when an expression with groups wins, package regexp allocates
// their positions, which are copied to the caller's slice.
package route
