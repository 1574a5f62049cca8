package config

import "perigee/proxy/exchange"

// ModifiedPolicy is a value of if_modified_since.
type ModifiedPolicy string

// The policies; empty is exact.
const (
	ModifiedExact  ModifiedPolicy = "exact"
	ModifiedBefore ModifiedPolicy = "before"
	ModifiedOff    ModifiedPolicy = "off"
)

// Values are the words that are accepted.
func (ModifiedPolicy) Values() []string {
	return []string{string(ModifiedExact), string(ModifiedBefore), string(ModifiedOff)}
}

// Policy is the value as exchanges use it.
func (p ModifiedPolicy) Policy() exchange.ModifiedPolicy {
	switch p {
	case ModifiedBefore:
		return exchange.ModifiedBefore
	case ModifiedOff:
		return exchange.ModifiedOff
	}
	return exchange.ModifiedExact
}
