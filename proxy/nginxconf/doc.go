// Package nginxconf reads an nginx.conf, with the Lua directives of OpenResty,
// and writes the perigee.yaml that does the same.
//
// What has an equivalent is carried over; what is meaningless here (events,
// pid, temporary folders) is passed over; all else is listed with its place
// and the reason, so that nothing is lost without a word.
//
// The lexer is the package's own: texts must come out exactly as nginx sees
// them, because most Lua in the wild stands in quotes, and existing parsers
// leave nginx's escapes in such texts or read Lua blocks as nginx syntax.
package nginxconf
