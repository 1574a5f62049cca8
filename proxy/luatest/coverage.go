package luatest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"perigee/proxy/observe"
)

// coverage counts which scripts of which configurations ran.
type coverage struct {
	runs  map[covered]uint64
	order []covered // as the configurations have them
}

// covered is a script: the stage of a route in a configuration.
type covered struct{ config, script string }

// stage is the part of a script's name behind the route's.
func (c covered) stage() string { return c.script[strings.LastIndexByte(c.script, '/')+1:] }

func newCoverage() coverage { return coverage{runs: map[covered]uint64{}} }

// add counts the scripts of a gateway that has served.
func (c *coverage) add(config string, scripts []observe.ScriptInfo) {
	for _, s := range scripts {
		if !strings.Contains(s.Name, "/") {
			continue // of the VM itself, not of a configuration
		}
		key := covered{config, s.Name}
		if _, known := c.runs[key]; !known {
			c.order = append(c.order, key)
		}
		c.runs[key] += s.Runs
	}
}

// Coverage says which stages of which routes have run.
type Coverage struct {
	Stages []StageCoverage
	// Never are scripts that never ran, as "CONFIGURATION: ROUTE/STAGE".
	Never []string
}

// StageCoverage counts the scripts of a stage.
type StageCoverage struct {
	Stage      string
	Ran, Total int
}

// stages in the order in which they run.
var stages = []string{"ssl_certificate", "set", "rewrite", "access", "content", "balancer", "header_filter", "body_filter", "log"}

func (c *coverage) sum() (sum Coverage) {
	count := map[string]*StageCoverage{}
	for _, key := range c.order {
		s := count[key.stage()]
		if s == nil {
			s = &StageCoverage{Stage: key.stage()}
			count[key.stage()] = s
		}
		s.Total++
		if c.runs[key] > 0 {
			s.Ran++
		} else {
			sum.Never = append(sum.Never, key.config+": "+key.script)
		}
	}
	for _, s := range count {
		sum.Stages = append(sum.Stages, *s)
	}
	slices.SortFunc(sum.Stages, func(a, b StageCoverage) int {
		if d := rank(a.Stage) - rank(b.Stage); d != 0 {
			return d
		}
		return strings.Compare(a.Stage, b.Stage)
	})
	return sum
}

// rank is a stage's place; those that are not known come last.
func rank(stage string) int {
	if i := slices.Index(stages, stage); i >= 0 {
		return i
	}
	return len(stages)
}

// write says it in lines; nothing when there was no script.
func (c *Coverage) write(w io.Writer) {
	if len(c.Stages) == 0 {
		return
	}
	parts := make([]string, len(c.Stages))
	for i, s := range c.Stages {
		parts[i] = fmt.Sprintf("%s %d/%d", s.Stage, s.Ran, s.Total)
	}
	fmt.Fprintf(w, "phases covered: %s\n", strings.Join(parts, ", "))
	for _, name := range c.Never {
		fmt.Fprintf(w, "never ran: %s\n", name)
	}
}
