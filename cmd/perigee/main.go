package main

import (
	"fmt"
	"os"

	"perigee/proxy"
	"perigee/proxy/config"
	"perigee/proxy/observe"
)

func main() {
	f, err := config.Load(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	log, _ := observe.OpenLog(observe.LogOptions{File: "-", Level: observe.LevelInfo})
	st := proxy.NewState(observe.BuildInfo{}, log)
	s, err := proxy.NewServer(st)
	if err != nil {
		panic(err)
	}
	if err := s.Apply(f); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
}
