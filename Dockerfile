# syntax=docker/dockerfile:1
# linux/amd64 and linux/arm64, arm64 across by a compiler, never emulated:
#   docker buildx build --platform linux/amd64,linux/arm64 .
# Two stages: build on the release that make deps has a pinned LuaJIT for, run
# on the same release's glibc. The binary is dynamic on purpose, against libc
# and libm alone: a fully static one would lose ffi.C and Lua C modules.

ARG BUILD_BASE=docker.io/library/golang:1.26-bookworm
ARG BASE=gcr.io/distroless/base-debian12:nonroot

# The builder's own architecture, whatever is built for.
FROM --platform=$BUILDPLATFORM ${BUILD_BASE} AS build
ARG TARGETARCH
WORKDIR /src
# LuaJIT and lua-cjson first: they change least and take longest.
COPY Makefile ./
COPY .ci/deps.sh .ci/apt.sh .ci/
COPY .ci/luajit .ci/luajit
COPY .ci/cjson .ci/cjson
# qemu is for running what is built, which nothing here does.
ENV DEPS_QEMU=no
RUN make deps ARCH="${TARGETARCH}" && rm -rf /var/lib/apt/lists/*
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
# For another architecture than the builder's, make adds its name.
RUN --mount=type=cache,target=/root/.cache/go-build \
    make build ARCH="${TARGETARCH}" VERSION="${VERSION}" EXTRA_LDFLAGS="-s -w" && \
    mkdir /out && cp bin/perigee* /out/perigee

# Said, though BuildKit would take it anyway: buildah would take the first stage's.
FROM --platform=$TARGETPLATFORM ${BASE}
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="perigee" \
      org.opencontainers.image.description="HTTP gateway that runs OpenResty's Lua" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /out/perigee /usr/bin/perigee
COPY --from=build /src/LICENSE /usr/share/doc/perigee/LICENSE
# Unprivileged by number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Public listener; the admin listener stays on loopback unless configured.
EXPOSE 8080
# Docker's; Kubernetes has probes of its own, and OCI images no such field.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/bin/perigee", "healthcheck"]
ENTRYPOINT ["/usr/bin/perigee"]
CMD ["run", "-c", "/etc/perigee/perigee.yaml"]
