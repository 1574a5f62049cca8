package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var metricName = regexp.MustCompile(`\bperigee_[a-z0-9_]+`)

// names checks that alerts, dashboards and the adapter's rules speak of metrics
// that the gateway has, and that each alert has its entry in the runbook.
func (b *bundle) names(known map[string]bool, runbook string) {
	for _, r := range b.of("PrometheusRule") {
		b.ruleNames(r, known, runbook)
	}
	offered := map[string]bool{}
	for _, m := range b.of("ConfigMap") {
		for key, text := range m.object("data") {
			switch text, _ := text.(string); key {
			case "perigee.json":
				b.dashboardNames(m, text, known)
			case "config.yaml":
				b.adapterNames(m, text, known, offered)
			}
		}
	}
	for _, h := range b.of("HorizontalPodAutoscaler") {
		for _, metric := range h.list("spec", "metrics") {
			if name := metric.text("pods", "metric", "name"); name != "" && !offered[name] {
				b.problem(h, "asks for %s, which no rule of Prometheus Adapter makes", name)
			}
		}
	}
}

func (b *bundle) unknown(o object, where, text string, known map[string]bool) {
	for _, name := range metricName.FindAllString(text, -1) {
		if !known[name] {
			b.problem(o, "%s: the gateway has no metric %s", where, name)
		}
	}
}

func (b *bundle) ruleNames(r object, known map[string]bool, runbook string) {
	recorded := map[string]bool{}
	for _, g := range r.list("spec", "groups") {
		for _, rule := range g.list("rules") {
			recorded[rule.text("record")] = true
		}
	}
	record := regexp.MustCompile(`\bperigee:[a-z0-9_:]+`)
	for _, g := range r.list("spec", "groups") {
		for _, rule := range g.list("rules") {
			name := rule.text("alert") + rule.text("record")
			b.unknown(r, name, rule.text("expr"), known)
			for _, used := range record.FindAllString(rule.text("expr"), -1) {
				if !recorded[used] {
					b.problem(r, "%s: nothing records %s", name, used)
				}
			}
			if alert := rule.text("alert"); alert != "" {
				b.alertNames(r, rule, runbook)
			}
		}
	}
}

func (b *bundle) alertNames(r, rule object, runbook string) {
	alert := rule.text("alert")
	if !slices.Contains([]string{"critical", "warning"}, rule.text("labels", "severity")) {
		b.problem(r, "%s: severity must be critical or warning", alert)
	}
	if rule.text("annotations", "summary") == "" || rule.text("annotations", "description") == "" {
		b.problem(r, "%s: has no summary or no description", alert)
	}
	if !strings.HasSuffix(rule.text("annotations", "runbook_url"), "#"+strings.ToLower(alert)) {
		b.problem(r, "%s: runbook_url does not lead to its entry", alert)
	}
	if !strings.Contains(runbook, "\n### "+alert+"\n") {
		b.problem(r, "%s: the runbook has no entry for it", alert)
	}
}

func (b *bundle) dashboardNames(m object, text string, known map[string]bool) {
	var board struct {
		Panels []struct {
			ID      int    `json:"id"`
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal([]byte(text), &board); err != nil || len(board.Panels) == 0 {
		b.problem(m, "the dashboard cannot be read: %v", err)
	}
	seen := map[int]bool{}
	for _, p := range board.Panels {
		if seen[p.ID] || len(p.Targets) == 0 {
			b.problem(m, "panel %q shows nothing, or has another's number", p.Title)
		}
		seen[p.ID] = true
		for _, t := range p.Targets {
			b.unknown(m, "panel "+p.Title, t.Expr, known)
		}
	}
}

func (b *bundle) adapterNames(m object, text string, known, offered map[string]bool) {
	var config struct {
		Rules []struct {
			SeriesQuery  string `yaml:"seriesQuery"`
			MetricsQuery string `yaml:"metricsQuery"`
			Name         struct{ As string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &config); err != nil || len(config.Rules) == 0 {
		b.problem(m, "Prometheus Adapter's rules cannot be read: %v", err)
	}
	for _, r := range config.Rules {
		b.unknown(m, r.Name.As, r.SeriesQuery, known)
		if !strings.Contains(r.MetricsQuery, "<<.Series>>{<<.LabelMatchers>>}") || !strings.Contains(r.MetricsQuery, "<<.GroupBy>>") {
			b.problem(m, "%s: metricsQuery lacks <<.Series>>{<<.LabelMatchers>>} or <<.GroupBy>>", r.Name.As)
		}
		offered[r.Name.As] = true
	}
}
