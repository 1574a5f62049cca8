//go:build cgo && luajit

/*
 * What a socket can do without waiting: system calls on a descriptor that is
 * non-blocking and registered with Go's poller. A script that sends enters Go
 * only when the kernel has no room. Over TLS there is nothing to do here: all
 * bytes go through Go.
 */
#define _GNU_SOURCE
#include "socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Read-some into the room behind fill: bytes, 0 at the end, or an outcome. */
int32_t pg_sock_receive(pg_sock *s) {
  pg_socket *k = (pg_socket *)s;
  ssize_t n;
  if (s->fd < 0 || s->flags & PG_SOCK_TLS) return PG_SOCK_AGAIN;
  do n = recv(s->fd, s->buf + s->fill, s->cap - s->fill, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? PG_SOCK_AGAIN : -errno;
  s->fill += (uint32_t)n;
  if (k->heard && (n == 0 || s->fill == s->cap)) *k->heard = 1;
  return (int32_t)n;
}

/* How many of the n bytes went; fewer: the rest must wait. Or -errno. */
int32_t pg_sock_send(pg_sock *s, const char *p, uint32_t n) {
  uint32_t gone = 0;
  if (s->fd < 0 || s->flags & PG_SOCK_TLS) return 0;
  while (gone < n || n == 0) {
    ssize_t r = send(s->fd, p + gone, n - gone, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (r >= 0) {
      gone += (uint32_t)r;
      if (n == 0) break;               /* an empty datagram */
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      return -errno;
    }
  }
  return (int32_t)gone;
}

/* Adds to what is to be sent: 0, or PG_E_MEMORY. */
int32_t pg_sock_put(pg_sock *s, const char *p, uint32_t n) {
  uint64_t need = (uint64_t)s->out_len + n, size = s->out_cap;
  if (need > INT32_MAX) return PG_E_MEMORY;
  if (need > size) {
    char *q;
    if (!size) size = 512;
    while (size < need) size *= 2;
    q = realloc(s->out, size);
    if (!q) return PG_E_MEMORY;
    s->out = q;
    s->out_cap = (uint32_t)size;
  }
  memcpy(s->out + s->out_len, p, n);
  s->out_len += n;
  return 0;
}

/*
 * Has anything come that nobody asked for, or the peer left? Over TLS bytes
 * alone mean nothing: they may be session tickets.
 *
 * A socket that lives in an event loop is in its epoll, edge-triggered, and the
 * loop notes each edge that no read was waiting for:
 *
 *    epoll --> tap.ready --> *heard = 1
 *    here:  *heard 0    quiet, without a system call
 *           *heard 1    poll tells; where it finds nothing, *heard = 0
 *
 * Who fills its buffer to the brim notes so too: what it left makes no further
 * edge. So 0 says that nothing had come by the loop's last poll (nginx knows no
 * more of its idle connections). Both are of the loop's thread.
 */
int32_t pg_sock_stir(pg_sock *s) {
  const pg_socket *k = (const pg_socket *)s;
  struct pollfd p = { .fd = s->fd };
  if (k->heard && !*k->heard) return PG_QUIET;
  p.events = s->flags & PG_SOCK_TLS ? POLLRDHUP : POLLIN | POLLRDHUP;
  if (poll(&p, 1, 0) <= 0) {
    if (k->heard) *k->heard = 0;
    return PG_QUIET;
  }
  if (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) return PG_LEFT;
  return PG_STIRRED;
}

static const struct { int level, name; } options[] = {
  [1] = { SOL_SOCKET, SO_KEEPALIVE },
  [2] = { SOL_SOCKET, SO_REUSEADDR },
  [3] = { IPPROTO_TCP, TCP_NODELAY },
  [4] = { SOL_SOCKET, SO_SNDBUF },
  [5] = { SOL_SOCKET, SO_RCVBUF },
  [6] = { IPPROTO_TCP, TCP_KEEPINTVL },
  [7] = { IPPROTO_TCP, TCP_KEEPCNT },
};

/* Gets or sets an option by resty.core's number: 0, or -errno. */
int32_t pg_sock_option(pg_sock *s, int32_t which, int32_t *value, int32_t set) {
  socklen_t n = sizeof *value;
  int r;
  if (which < 1 || which >= (int32_t)(sizeof options / sizeof *options))
    return -EINVAL;
  r = set ? setsockopt(s->fd, options[which].level, options[which].name,
                       value, n)
          : getsockopt(s->fd, options[which].level, options[which].name,
                       value, &n);
  return r ? -errno : 0;
}

/* The C library's text of an errno: its length, at most n. */
uint32_t pg_sock_why(int32_t number, char *dst, uint32_t n) {
  char buf[128];
  const char *text = strerror_r(number, buf, sizeof buf);
  size_t len = strlen(text);
  if (len > n) len = n;
  memcpy(dst, text, len);
  return (uint32_t)len;
}
