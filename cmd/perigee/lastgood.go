package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-json"

	"perigee/proxy/config"
	"perigee/proxy/observe"
)

// startOrLastGood starts with the configuration as it is on disk, or, when that
// one is broken, with the last good one. Then the log says what is wrong.
func startOrLastGood(from origin) (*process, error) {
	file, err := from.load()
	var p *process
	if err == nil {
		p, err = start(file, from)
	}
	if err == nil {
		p.keep(file)
		return p, nil
	}
	if from.lastGood == "" {
		return nil, err
	}
	saved, file, old := readLastGood(from.lastGood)
	if old != nil {
		if errors.Is(old, os.ErrNotExist) {
			return nil, err // the first start
		}
		return nil, fmt.Errorf("%w\nand the last good configuration cannot be used: %w", err, old)
	}
	p, old = start(file, from)
	if old != nil {
		return nil, fmt.Errorf("%w\nand the last good configuration does not start: %w", err, old)
	}
	p.Reloaded("last_good")
	p.log.Print(observe.LevelCrit, nil, fmt.Sprintf(
		"the configuration is broken, the last good one of %s (%s) runs: %v", saved.At.Format(time.RFC3339), saved.Digest, err))
	return p, nil
}

func readLastGood(path string) (saved config.Saved, file *config.File, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return saved, nil, err
	}
	if err := json.Unmarshal(text, &saved); err != nil {
		return saved, nil, fmt.Errorf("%s was not written by -last-good: %w", path, err)
	}
	file, err = config.Restore(saved)
	return saved, file, err
}

// keep writes the configuration that runs to the file of -last-good. Whoever
// reads the file sees the old one or the new one, whole.
func (p *process) keep(file *config.File) {
	if p.lastGood == "" {
		return
	}
	if err := writeLastGood(p.lastGood, file); err != nil {
		p.log.Print(observe.LevelError, nil, "the last good configuration was not kept: "+err.Error())
	}
}

func writeLastGood(path string, file *config.File) error {
	saved, err := file.Save()
	if err != nil {
		return err
	}
	saved.At = time.Now().UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(saved, "", " ")
	if err != nil {
		return err
	}
	// Made with 0600: a configuration may have secrets in it.
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
