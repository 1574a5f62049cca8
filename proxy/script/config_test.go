package script

import (
	"slices"
	"testing"

	"perigee/proxy/unit"
)

func TestChunkName(t *testing.T) {
	at := unit.Position{File: "/etc/perigee/perigee.yaml", Line: 41, Column: 9}
	for _, test := range []struct {
		name   string
		source Source
		want   string
	}{
		{"inline", Source{Inline: "x", Position: at}, "=access_by_lua(perigee.yaml:41)"},
		{"file", Source{File: "/lua/a.lua", Position: at}, "@/lua/a.lua"},
		{"named file", Source{File: "/lua/a.lua", Name: "guard", Position: at}, "=guard"},
		{"named text", Source{Inline: "x", Name: "guard"}, "=guard"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.source.ChunkName("access_by_lua"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestSourcesComeInStageOrder(t *testing.T) {
	x := &Source{Inline: "x"}
	c := Config{Log: x, Access: x, HeaderFilter: x, Rewrite: x, BodyFilter: x, Content: x}
	var got []string
	for key := range c.Sources() {
		got = append(got, key)
	}
	if want := []string{"rewrite", "access", "content", "header_filter", "body_filter", "log"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for key := range (&Config{Log: x, Access: x}).Sources() {
		if key != "access" {
			t.Errorf("first %q", key)
		}
		break
	}
	s := Settings{InitWorker: x, Init: x}
	got = nil
	for key := range s.Sources() {
		got = append(got, key)
	}
	if want := []string{"init", "init_worker"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for range s.Sources() {
		break
	}
}

func paths(problems []unit.Problem) (list []string) {
	for _, p := range problems {
		list = append(list, p.Path)
	}
	slices.Sort(list)
	return list
}

func TestCheck(t *testing.T) {
	c := Config{Rewrite: &Source{Inline: "x"}, Access: &Source{}, Content: &Source{Inline: "x", File: "y"}, Log: &Source{File: "x", Name: "a\nb"}}
	if got := paths(c.Check()); !slices.Equal(got, []string{"access", "content", "log.name"}) {
		t.Errorf("config: %q", got)
	}
	for _, test := range []struct {
		name   string
		change func(s *Settings)
		want   []string
	}{
		{"defaults", func(*Settings) {}, nil},
		{"all limits off", func(s *Settings) { s.CPUBudget, s.TotalTime, s.MemoryLimit = 0, 0, 0 }, nil},
		{"budget without total", func(s *Settings) { s.TotalTime = 0 }, nil},
		{"small dictionary", func(s *Settings) { s.SharedDicts = map[string]unit.Size{"a": 1, "b": unit.MiB} }, []string{"shared_dicts.a"}},
		{"dictionary name", func(s *Settings) { s.SharedDicts = map[string]unit.Size{"1 a": unit.MiB} }, []string{"shared_dicts"}},
		{"small VM", func(s *Settings) { s.MemoryLimit = unit.MiB }, []string{"memory_limit"}},
		{"short budget", func(s *Settings) { s.CPUBudget = 1 }, []string{"cpu_budget"}},
		{"total below budget", func(s *Settings) { s.TotalTime = s.CPUBudget - 1 }, []string{"total_time"}},
		{"empty script", func(s *Settings) { s.Init = &Source{} }, []string{"init"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s Settings
			s.SetDefaults()
			test.change(&s)
			if got := paths(s.Check()); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
