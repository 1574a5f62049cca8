# `make` prints what there is. Scripts are in .ci/.

GO ?= go
TAGS := -tags luajit
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PKG ?= ./...
export CGO_ENABLED := 1

.DEFAULT_GOAL := help
.PHONY: help deps deps-test build run

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Debian packages and LuaJIT for building (.deps/)
	@.ci/deps.sh build

deps-test: ## deps, and what the tests talk to: nginx, Redis, wrk, ...
	@.ci/deps.sh test

build: deps ## bin/perigee
	$(GO) build $(TAGS) -trimpath -ldflags '-X main.version=$(VERSION) -extldflags "-static-libgcc"' -o bin/perigee ./cmd/perigee

run: build ## serve the demo on :8080 (admin :9901)
	bin/perigee run -c cmd/perigee/demo/demo.yaml
