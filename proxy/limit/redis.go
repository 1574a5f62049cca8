package limit

import (
	"fmt"
	"net"

	"perigee/proxy/unit"
	"perigee/proxy/upstream"
	"perigee/ratelimit/fleet"
)

// Redis is one entry of redis: a store in which instances count together.
type Redis struct {
	// Address is host:port of the server.
	Address string `yaml:"address,omitempty" config:"short"`
	// Addresses are those of Sentinels, or of some nodes of a cluster, in the place
	// of address.
	Addresses []string `yaml:"addresses,omitempty"`
	// Sentinel is the name of the master that the Sentinels watch.
	Sentinel string `yaml:"sentinel,omitempty"`
	// Cluster says that addresses are of a cluster.
	Cluster bool `yaml:"cluster,omitempty"`
	// Username is of the servers' ACL. Default: Redis's default user.
	Username string `yaml:"username,omitempty"`
	// Password is the servers'.
	Password unit.Secret `yaml:"password,omitempty"`
	// SentinelPassword is the Sentinels'.
	SentinelPassword unit.Secret `yaml:"sentinel_password,omitempty"`
	// Database is its number; not in a cluster. Default 0.
	Database int `yaml:"database,omitempty"`
	// Prefix begins all keys. Default "perigee:".
	Prefix string `yaml:"prefix,omitempty"`
	// TLS is how the servers are asked; without it in the clear.
	TLS *upstream.TLSConfig `yaml:"tls,omitempty"`
}

// Check finds what cannot be.
func (r *Redis) Check() []unit.Problem {
	var problems []unit.Problem
	say := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	switch {
	case r.Address == "" && len(r.Addresses) == 0:
		say("", "a store has an address", `add address: "127.0.0.1:6379"`)
	case r.Address != "" && len(r.Addresses) > 0:
		say("addresses", "a store has address or addresses", "keep one of them")
	case r.Sentinel != "" && r.Cluster:
		say("cluster", "a cluster has no Sentinels", "keep one of sentinel and cluster")
	case r.Cluster && r.Database != 0:
		say("database", "a cluster has one database", "remove database")
	case len(r.Addresses) > 1 && r.Sentinel == "" && !r.Cluster:
		say("addresses", "several addresses are of Sentinels or of a cluster", "add sentinel: NAME or cluster: true")
	}
	for i, address := range r.addresses() {
		path := "address"
		if r.Address == "" {
			path = fmt.Sprintf("addresses[%d]", i)
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			say(path, fmt.Sprintf("address %q is not host:port", address), `write "127.0.0.1:6379"`)
		}
	}
	if r.Database < 0 {
		say("database", fmt.Sprintf("database %d is below 0", r.Database), "remove it for the default")
	}
	if r.TLS != nil {
		for _, p := range r.TLS.Check() {
			path := "tls"
			if p.Path != "" {
				path = unit.Join(path, p.Path)
			}
			say(path, p.Message, p.Hint)
		}
	}
	return problems
}

func (r *Redis) addresses() []string {
	if r.Address != "" {
		return []string{r.Address}
	}
	return r.Addresses
}

// Options are the store's for package fleet; files are read.
func (r *Redis) Options() (fleet.Options, error) {
	o := fleet.Options{
		Addresses: r.addresses(), Sentinel: r.Sentinel, Cluster: r.Cluster,
		Username: r.Username, Password: r.Password.Reveal(), SentinelPassword: r.SentinelPassword.Reveal(),
		Database: r.Database, Prefix: r.Prefix,
	}
	if r.TLS == nil {
		return o, nil
	}
	var err error
	o.TLS, err = r.TLS.Client()
	return o, err
}

// Digest tells stores apart that must not share connections. It has secrets.
func (r *Redis) Digest() string {
	secrets := r.Password.Reveal() + "\x00" + r.SentinelPassword.Reveal()
	plain := *r
	plain.Password, plain.SentinelPassword = unit.Secret{}, unit.Secret{}
	plain.TLS = nil
	text := fmt.Sprintf("%+v\x00%s", plain, secrets)
	if r.TLS != nil {
		text += fmt.Sprintf("\x00%+v", *r.TLS)
	}
	return text
}

// openFleet is a fleet in use by configurations.
type openFleet struct {
	*fleet.Fleet
	name, digest string
	users        int
}

// Fleets lends the stores of a configuration, connected by now or soon: those
// that are open already stay as they are. Release gives them back.
func (s *Store) Fleets(stores map[string]*Redis) (map[string]*fleet.Fleet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lent := map[string]*fleet.Fleet{}
	for name, r := range stores {
		f, err := s.fleet(name, r)
		if err != nil {
			s.release(lent)
			return nil, fmt.Errorf("redis.%s: %w", name, err)
		}
		lent[name] = f
	}
	return lent, nil
}

func (s *Store) fleet(name string, r *Redis) (*fleet.Fleet, error) {
	digest := r.Digest()
	for _, o := range s.fleets {
		if o.name == name && o.digest == digest {
			o.users++
			return o.Fleet, nil
		}
	}
	options, err := r.Options()
	if err != nil {
		return nil, err
	}
	options.Report = func(up bool, why error) {
		switch {
		case s.Report == nil:
		case up:
			s.Report(fmt.Sprintf("limits: the store redis.%s answers again", name))
		default:
			s.Report(fmt.Sprintf("limits: the store redis.%s does not answer, and on_store_failure decides: %v", name, why))
		}
	}
	f, err := fleet.Open(options)
	if err != nil {
		return nil, err
	}
	s.fleets = append(s.fleets, &openFleet{f, name, digest, 1})
	return f, nil
}

// Release takes back what Fleets lent; the last user's connections are closed,
// after what they hold has been given back.
func (s *Store) Release(lent map[string]*fleet.Fleet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(lent)
}

func (s *Store) release(lent map[string]*fleet.Fleet) {
	kept := s.fleets[:0]
	for _, o := range s.fleets {
		if lent[o.name] == o.Fleet {
			o.users--
		}
		if o.users == 0 {
			s.closing.Go(o.Close)
			continue
		}
		kept = append(kept, o)
	}
	clear(s.fleets[len(kept):])
	s.fleets = kept
}

// Close waits until stores that nobody uses any more have got back what was
// leased: a second or two where they do not answer.
func (s *Store) Close() {
	s.mu.Lock()
	if s.closed = true; s.sweep != nil {
		s.sweep.Stop()
	}
	s.mu.Unlock()
	s.closing.Wait()
}
