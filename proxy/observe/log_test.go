package observe

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
)

var logHead = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (\d+)#0: `)

// written runs f with a log and returns its lines without time and process.
func written(t *testing.T, level Level, f func(*Log)) string {
	t.Helper()
	out := &page{}
	l := NewLog(out, level)
	f(l)
	mustClose(t, l)
	text := out.String()
	if text == "" {
		return ""
	}
	head := logHead.FindStringSubmatch(text)
	if head == nil || head[2] != fmt.Sprint(os.Getpid()) {
		t.Fatalf("head of %q", text)
	}
	return logHead.ReplaceAllString(text, "[$1] ")
}

func TestLogLineInNginxForm(t *testing.T) {
	got := written(t, LevelInfo, func(l *Log) {
		l.Write(LevelError, fullRecord(), []byte("[lua] access.lua:3: hello\n"))
	})
	const want = `[error] *17 [lua] access.lua:3: hello, client: 2001:db8::1, server: :8080, request: "GET /orders/1?a=b HTTP/1.1", ` +
		`upstream: "127.0.0.1:9002", host: "api.example.com", error_id: e1` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := written(t, LevelInfo, func(l *Log) { l.Print(LevelNotice, nil, "ready") }); got != "[notice] ready\n" {
		t.Errorf("outside of an exchange: %q", got)
	}
	if got := written(t, LevelInfo, func(l *Log) { l.Print(LevelWarn, &Record{}, "m") }); got != "[warn] m\n" {
		t.Errorf("empty record: %q", got)
	}
}

func TestMessagesCannotDriveATerminal(t *testing.T) {
	got := written(t, LevelInfo, func(l *Log) { l.Print(LevelError, nil, "a\x1b[2Jb\nstack\tc\x00\x7f\r") })
	if got != "[error] a\\x1b[2Jb\nstack\tc\\x00\\x7f\\x0d\n" {
		t.Errorf("got %q", got)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	got := written(t, LevelInfo, func(l *Log) { l.Print(LevelError, nil, strings.Repeat("x", maxMessage+1)) })
	if want := "[error] " + strings.Repeat("x", maxMessage) + "...\n"; got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func TestLevelsFilter(t *testing.T) {
	for least := LevelEmerg; least < levelCount; least++ {
		got := written(t, LevelDebug, func(l *Log) {
			l.SetLevel(least)
			if l.Level() != least {
				t.Errorf("Level() = %v, want %v", l.Level(), least)
			}
			for level := LevelStderr; level < levelCount; level++ {
				l.Print(level, nil, "m")
			}
		})
		if n := strings.Count(got, "\n"); n != int(least)+1 {
			t.Errorf("%v: %d lines", least, n)
		}
	}
}

func TestParseLevel(t *testing.T) {
	for level := LevelEmerg; level < levelCount; level++ {
		if got, err := ParseLevel(level.String()); err != nil || got != level {
			t.Errorf("%v: %v, %v", level, got, err)
		}
		if got := fromSlog(level.Slog()); got != level {
			t.Errorf("%v through slog is %v", level, got)
		}
	}
	for _, word := range []string{"", "stderr", "ERROR", "warning"} {
		if _, err := ParseLevel(word); err == nil || !strings.Contains(err.Error(), "emerg, alert") {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestSlogAttributesFollowTheMessage(t *testing.T) {
	for name, c := range map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"plain":  {func(l *slog.Logger) { l.Info("listening", "address", ":8080") }, "[info] listening, address: :8080\n"},
		"quoted": {func(l *slog.Logger) { l.Error("failed", "error", errors.New("a, b: c")) }, "[error] failed, error: \"a, b: c\"\n"},
		"forged": {func(l *slog.Logger) { l.Warn("m", "k", "v\n2026 [error]") }, "[warn] m, k: \"v\\n2026 [error]\"\n"},
		"empty":  {func(l *slog.Logger) { l.Info("m", "k", "") }, "[info] m, k: \"\"\n"},
		"with":   {func(l *slog.Logger) { l.With("a", 1).Info("m", "b", 2) }, "[info] m, a: 1, b: 2\n"},
		"group":  {func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Info("m", "b", 2) }, "[info] m, g.a: 1, g.b: 2\n"},
		"inner": {func(l *slog.Logger) { l.Info("m", slog.Group("g", "a", 1, slog.Group("", "b", 2))) },
			"[info] m, g.a: 1, g.b: 2\n"},
		"notice": {func(l *slog.Logger) { l.Log(t.Context(), SlogNotice, "m") }, "[notice] m\n"},
		"debug":  {func(l *slog.Logger) { l.Debug("m") }, ""},
		"printf": {func(l *slog.Logger) { slog.NewLogLogger(l.Handler(), slog.LevelWarn).Printf("%d x", 3) }, "[warn] 3 x\n"},
	} {
		got := written(t, LevelInfo, func(l *Log) { c.log(l.Slog()) })
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
