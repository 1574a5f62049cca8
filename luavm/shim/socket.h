/*
 * What socket.c, socket_read.c and socket_pool.c share: the private side of
 * pg_socket_api in perigee_ffi.h.
 */
#ifndef PERIGEE_SOCKET_H
#define PERIGEE_SOCKET_H

#include "shim.h"

/* pg_sock and what Lua must not see of it. sock is first: casts both ways. */
typedef struct pg_socket {
  pg_sock sock;
  pg_state *v;
  pg_link owner;             /* in seat->sockets, or in v->kept */
  pg_link place;             /* in its pool's idle list or queue */
  pg_pool *pool;             /* where it is counted */
  int64_t until;             /* kept: ns of CLOCK_MONOTONIC; 0: for ever */
  uint32_t wait;             /* PG_QUEUED, PG_TURN: of a connect in a queue */
  uint32_t thread;           /* index of the thread that waits there */
  uint32_t serial;           /* of its wait in the queue */
  uint32_t held;             /* 1: Lua has it */
  uint8_t *heard;            /* an event loop's word on it; NULL: none has it */
} pg_socket;

enum { PG_NOT_QUEUED = 0, PG_QUEUED = 1, PG_TURN = 2 };

#define PG_SOCKET_OF(link, member) \
  ((pg_socket *)(void *)((char *)(link) - offsetof(pg_socket, member)))

/* Lists are rings through their head; a head of zeros is empty too. */
void pg_link_in(pg_link *head, pg_link *, int last);
void pg_link_out(pg_link *);
static inline int pg_link_none(const pg_link *head) {
  return !head->next || head->next == head;
}

/* ---- socket.c ---- */
void pg_socket_shut(pg_socket *);     /* its memory may be gone then */

/* ---- socket_io.c ---- */
int32_t pg_sock_receive(pg_sock *);
int32_t pg_sock_send(pg_sock *, const char *p, uint32_t n);
int32_t pg_sock_put(pg_sock *, const char *p, uint32_t n);
int32_t pg_sock_stir(pg_sock *);
int32_t pg_sock_option(pg_sock *, int32_t which, int32_t *value, int32_t set);
uint32_t pg_sock_why(int32_t number, char *dst, uint32_t n);

/* ---- socket_read.c ---- */
int32_t pg_sock_room(pg_sock *, uint32_t want);
int32_t pg_sock_line(pg_sock *);
int32_t pg_sock_bytes(pg_sock *, uint32_t n);
int32_t pg_sock_any(pg_sock *, uint32_t max);
int32_t pg_sock_rest(pg_sock *, int32_t as_line);
uint32_t pg_pattern_size(uint32_t n);
void pg_pattern_make(pg_pattern *, const char *p, uint32_t n,
                     uint32_t inclusive);
int32_t pg_sock_until(pg_sock *, pg_pattern *, uint32_t size);
int32_t pg_sock_until_rest(pg_sock *, pg_pattern *);

/* ---- socket_pool.c ---- */
void pg_pool_leave(pg_socket *);
int32_t pg_pool_enter(pg_sock *, pg_pool *, int32_t again);
int32_t pg_pool_turn(pg_sock *);
uint32_t pg_pool_reuse(pg_vm *, pg_pool *);
void pg_pool_keep(pg_sock *, pg_pool *, double ms);

#endif
