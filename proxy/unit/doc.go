// Package unit holds the scalar types that a configuration is written in:
// durations, sizes, rates, percentages, secrets, address sets, path and host
// patterns, value patterns and templates.
//
// Each type has three faces:
//
//   - ParseX reads the text a person writes. Its error is a *ValueError that
//     names the value, what is wrong with it and what to write instead.
//   - UnmarshalYAML does the same for a YAML node and adds line and column.
//   - String gives the shortest text that ParseX reads back to the same value,
//     and MarshalYAML writes that text; Secret alone writes a mask.
//
// The package knows no other package of perigee, so that a feature's Config
// can use it without a cycle.
package unit
