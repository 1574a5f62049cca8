package config

// ForwardedPolicy says what becomes of the fields by which proxies tell for whom
// they speak.
type ForwardedPolicy string

// The policies.
const (
	ForwardedOwn  ForwardedPolicy = "own"
	ForwardedPass ForwardedPolicy = "pass"
)

// Values are the words that are accepted.
func (ForwardedPolicy) Values() []string {
	return []string{string(ForwardedOwn), string(ForwardedPass)}
}
