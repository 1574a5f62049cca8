//go:build cgo && luajit

/*
 * Pools: connections of one name that outlive the exchange that made them.
 *
 *   pools[name] in Lua --> pg_pool
 *                           idle:  kept sockets, last kept first
 *                           queue: connects that wait for one to be free
 *                           count: all of its sockets, used, idle or queued
 *
 * A pool bounds idle connections by its size. One made with a backlog bounds
 * all: a connect beyond size waits in the queue, beyond size + backlog it is
 * refused. Whoever leaves gives its turn to the first of the queue, which then
 * looks for an idle connection again or makes one.
 *
 * A kept socket belongs to no exchange: it is in its pool and in v->kept, which
 * is swept now and then for those that nobody may use any more. What Lua held
 * it by waits in a table under its handle; if it is closed there, it goes when
 * the next connection of that handle is kept.
 */
#include "socket.h"

#include <stdlib.h>
#include <string.h>

static void wake_next(pg_pool *p) {
  pg_socket *k;
  if (pg_link_none(&p->queue)) return;
  k = PG_SOCKET_OF(p->queue.next, place);
  pg_link_out(&k->place);
  k->wait = PG_TURN;
  pg_note_add(&k->v->vm, PG_NOTE_WAKE, k->sock.slot_id, k->thread,
              k->serial);
}

static void uncount(pg_socket *k) {
  k->pool->count--;
  k->pool->refs--;
  k->pool = NULL;
}

/* A socket that closes makes place, unless it waited for one itself. */
void pg_pool_leave(pg_socket *k) {
  pg_pool *p = k->pool;
  uint32_t waited = k->wait == PG_QUEUED;
  k->wait = PG_NOT_QUEUED;
  if (!p) return;
  if (k->place.next && !waited) p->idle_n--;
  pg_link_out(&k->place);
  uncount(k);
  if (!waited) wake_next(p);
}

/* Counts a socket about to connect. again: it has had its turn. */
int32_t pg_pool_enter(pg_sock *s, pg_pool *p, int32_t again) {
  pg_socket *k = (pg_socket *)s;
  int bounded = p->backlog >= 0 && !again;
  if (bounded && p->count + 1 > (int64_t)p->size + p->backlog)
    return PG_POOL_FULL;
  p->count++;
  p->refs++;
  k->pool = p;
  if (!bounded || p->count <= p->size) return PG_POOL_OK;
  k->wait = PG_QUEUED;
  k->thread = k->v->vm.thread->index;
  k->serial = k->v->vm.thread->serial + 1;   /* of the wait that follows */
  pg_link_in(&p->queue, &k->place, 1);
  return PG_POOL_WAIT;
}

/* Ends a wait in the queue: 1 when the socket's turn has come. It is not
   counted then: enter counts it again if it has to connect. */
int32_t pg_pool_turn(pg_sock *s) {
  pg_socket *k = (pg_socket *)s;
  int turn = k->wait == PG_TURN;
  if (!k->pool) return 0;
  pg_link_out(&k->place);
  k->wait = PG_NOT_QUEUED;
  uncount(k);
  return turn;
}

/* The handle of an idle connection that is alive, and now the running
   exchange's; or 0. */
uint32_t pg_pool_reuse(pg_vm *vm, pg_pool *p) {
  pg_seat *seat = (pg_seat *)vm->slot;
  int64_t now = 0;
  while (!pg_link_none(&p->idle)) {
    pg_socket *k = PG_SOCKET_OF(p->idle.next, place);
    if (k->until && !now) now = pg_mono();
    if ((k->until && now >= k->until) || pg_sock_stir(&k->sock) != PG_QUIET) {
      pg_socket_shut(k);
      continue;
    }
    pg_link_out(&k->place);
    p->idle_n--;
    pg_link_out(&k->owner);
    pg_link_in(&seat->sockets, &k->owner, 0);
    k->sock.slot_id = vm->slot->id;
    k->sock.gen = vm->slot->gen;
    k->sock.reused++;
    return k->sock.handle;
  }
  return 0;
}

/* Lua gives a connected socket to a pool; ms 0: for ever. */
void pg_pool_keep(pg_sock *s, pg_pool *p, double ms) {
  pg_socket *k = (pg_socket *)s;
  if (p->idle_n >= (uint32_t)p->size) {
    pg_socket *old = PG_SOCKET_OF(p->idle.prev, place);
    pg_link_out(&old->place);
    p->idle_n--;
    uncount(old);
    pg_socket_shut(old);
  }
  if (k->pool != p) {
    if (k->pool) uncount(k);
    k->pool = p;
    p->count++;
    p->refs++;
  }
  free(s->buf);
  free(s->out);
  s->buf = s->out = NULL;
  s->cap = s->pos = s->fill = s->seen = 0;
  s->out_pos = s->out_len = s->out_cap = 0;
  s->flags &= PG_SOCK_OPEN | PG_SOCK_TLS;
  s->gen = 0;
  k->until = ms > 0 ? pg_mono() + (int64_t)(ms * 1e6) : 0;
  pg_link_out(&k->owner);
  pg_link_in(&k->v->kept, &k->owner, 1);
  pg_link_in(&p->idle, &k->place, 0);
  p->idle_n++;
  k->v->kept_n++;
  wake_next(p);
}

/* Closes kept sockets that have expired or that the peer left. all: every one.
   How many are left. */
int pg_sweep_sockets(pg_state *v, int all) {
  int64_t now = pg_mono();
  pg_link *l = v->kept.next, *next;
  int left = 0;
  for (; l && l != &v->kept; l = next) {
    pg_socket *k = PG_SOCKET_OF(l, owner);
    next = l->next;
    if (all || (k->until && now >= k->until) ||
        pg_sock_stir(&k->sock) != PG_QUIET)
      pg_socket_shut(k);
    else
      left++;
  }
  return left;
}
