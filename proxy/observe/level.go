package observe

import (
	"fmt"
	"log/slog"
	"strings"
)

// Level is the weight of a process log line, with nginx's numbers: the smaller,
// the graver. They are the values of ngx.STDERR to ngx.DEBUG in Lua.
type Level uint8

// nginx's levels. LevelStderr is always written.
const (
	LevelStderr Level = iota
	LevelEmerg
	LevelAlert
	LevelCrit
	LevelError
	LevelWarn
	LevelNotice
	LevelInfo
	LevelDebug
	levelCount
)

var levelNames = [levelCount]string{
	"stderr", "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug",
}

// String returns the level's name as it stands in a line.
func (l Level) String() string { return levelNames[min(l, LevelDebug)] }

// ParseLevel reads the configuration's word for a level.
func ParseLevel(word string) (Level, error) {
	for l := LevelEmerg; l < levelCount; l++ {
		if levelNames[l] == word {
			return l, nil
		}
	}
	return 0, fmt.Errorf("log.level %q: want one of %s", word, strings.Join(levelNames[LevelEmerg:], ", "))
}

// slog has four levels at distances of four; nginx's others lie between and
// above them. Use them with (*slog.Logger).Log.
const (
	SlogNotice = slog.Level(2)
	SlogCrit   = slog.Level(12)
	SlogAlert  = slog.Level(16)
	SlogEmerg  = slog.Level(20)
)

// Slog returns the slog level that stands for l.
func (l Level) Slog() slog.Level {
	return [levelCount]slog.Level{
		SlogEmerg, SlogEmerg, SlogAlert, SlogCrit, slog.LevelError,
		slog.LevelWarn, SlogNotice, slog.LevelInfo, slog.LevelDebug,
	}[min(l, LevelDebug)]
}

// fromSlog is the reverse; a level between two counts as the less grave.
func fromSlog(l slog.Level) Level {
	switch {
	case l >= SlogEmerg:
		return LevelEmerg
	case l >= SlogAlert:
		return LevelAlert
	case l >= SlogCrit:
		return LevelCrit
	case l >= slog.LevelError:
		return LevelError
	case l >= slog.LevelWarn:
		return LevelWarn
	case l >= SlogNotice:
		return LevelNotice
	case l >= slog.LevelInfo:
		return LevelInfo
	}
	return LevelDebug
}
