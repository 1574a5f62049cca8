package proxy

import (
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"perigee/proxy/auth"
	"perigee/proxy/config"
)

// newAuth borrows what the auth blocks of a configuration share; nil if no route
// has one.
func newAuth(file *config.File, state *State) (*auth.Parts, error) {
	var blocks []*auth.Config
	paths := map[string]string{} // of keys files
	for i := range file.Routes {
		c := file.Routes[i].Auth
		if c == nil {
			continue
		}
		blocks = append(blocks, c)
		if c.APIKey != nil {
			paths[c.APIKey.KeysFile] = fmt.Sprintf("routes[%d].auth.api_key.keys_file", i)
		}
	}
	if len(blocks) == 0 {
		return nil, nil
	}
	stores := map[string]auth.Store{}
	for name, r := range file.Redis {
		stores[name] = auth.Store{Digest: r.Digest(), Client: func() (rueidis.ClientOption, error) {
			o, err := r.Options()
			return o.Client(), err
		}}
	}
	parts, err := auth.NewParts(state.Auth, file.Consumers, &file.Auth, blocks, stores)
	var part *auth.PartError
	if errors.As(err, &part) {
		at := part.Path
		if at == "" {
			at = paths[part.File]
		}
		return nil, file.NewError(at, part.Error(), "")
	}
	return parts, err
}
