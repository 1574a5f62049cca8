//go:build cgo && luajit

/*
 * Sockets from opening to closing.
 *
 *    Lua                       C (this state's)              Go
 *   object of ngx.socket ----> pg_socket                    table of the VM
 *     waits: thread.op --------- op_num2 = its address ----> reads and writes
 *                                sock.handle --------------> net.Conn
 *     close, collected, -------- PG_NOTE_CLOSE ------------> closes it
 *     end of the exchange
 *
 * Each socket is in one list: that of the seat whose exchange uses it, or
 * v->kept while no exchange does (socket_pool.c). Closing it takes it out of
 * use at once; Go closes the descriptor after the run. Its memory goes when
 * Lua does not hold it and no op of it is with Go. An op whose thread was
 * killed never reports back to Lua, so such a socket stays, closed and without
 * what Go does not use, until its exchange ends: then no op is with Go.
 *
 * All of this runs with the state locked. Go uses buf, fill, cap and out of a
 * socket without the lock, but only during an op, when nobody else may.
 */
#include "socket.h"

#include <stdlib.h>
#include <string.h>

void pg_link_in(pg_link *head, pg_link *l, int last) {
  if (!head->next) head->prev = head->next = head;
  if (last) head = head->prev;         /* behind the last one */
  l->next = head->next;
  l->prev = head;
  head->next->prev = l;
  head->next = l;
}

void pg_link_out(pg_link *l) {
  if (!l->next) return;
  l->prev->next = l->next;
  l->next->prev = l->prev;
  l->prev = l->next = NULL;
}

static void free_buffers(pg_sock *s) {
  free(s->buf);
  free(s->out);
  s->buf = s->out = NULL;
  s->cap = s->pos = s->fill = s->seen = 0;
  s->out_pos = s->out_len = s->out_cap = 0;
}

static void free_socket(pg_socket *k) {
  pg_link_out(&k->owner);
  free_buffers(&k->sock);
  free(k);
}

static pg_sock *open_socket(pg_vm *vm, uint32_t least) {
  pg_socket *k = calloc(1, sizeof *k);
  pg_seat *seat = (pg_seat *)vm->slot;
  if (!k) return NULL;
  k->v = (pg_state *)vm;
  k->held = 1;
  k->sock.fd = -1;
  k->sock.least = least < 64 ? 64 : least;
  k->sock.slot_id = vm->slot->id;
  k->sock.gen = vm->slot->gen;
  pg_link_in(&seat->sockets, &k->owner, 0);
  return &k->sock;
}

static void shut(pg_socket *k) {
  pg_sock *s = &k->sock;
  s->flags &= PG_SOCK_EOF | PG_SOCK_DATAGRAM;
  s->fd = -1;
  if (s->handle)
    pg_note_add(&k->v->vm, PG_NOTE_CLOSE, s->handle, 0, 0);
  if (s->session)
    pg_note_add(&k->v->vm, PG_NOTE_SESSION, s->session, 0, -1);
  s->handle = s->session = 0;
  k->heard = NULL;
  pg_pool_leave(k);
  if (!s->ops) free_buffers(s);
}

void pg_socket_shut(pg_socket *k) {
  shut(k);
  if (!k->held && !k->sock.ops) free_socket(k);
}

static void drop(pg_sock *s) {
  pg_socket *k = (pg_socket *)s;
  k->held = 0;
  pg_socket_shut(k);
}

/* A thread is killed while it waits: its socket, if it waits for one, is out of
   use. with_go: Go has the op, and with it the socket's memory. */
void pg_sock_orphan(const pg_thread *t, int with_go) {
  pg_sock *s = (pg_sock *)(uintptr_t)t->op_num2;
  if ((t->op < PG_OP_SOCK_CONNECT || t->op > PG_OP_SOCK_QUEUE) &&
      (t->op < PG_OP_REQ_READ || t->op > PG_OP_REQ_WRITE))
    return;
  if (!with_go) s->ops--;
  pg_socket_shut((pg_socket *)s);
}

/* The exchange has ended: no op is with Go, nobody may use its sockets. */
void pg_seat_shut_sockets(pg_slot *slot) {
  pg_link *head = &((pg_seat *)slot)->sockets;
  while (!pg_link_none(head)) {
    pg_socket *k = PG_SOCKET_OF(head->next, owner);
    k->sock.ops = 0;
    shut(k);
    if (k->held) pg_link_out(&k->owner);
    else free_socket(k);
  }
}

/*
 * object(metatable): the table of a socket object, with room for its fields.
 * In C not only because Lua cannot say how large a table is to be: no trace
 * goes on through a C function. One that began before ngx.socket.tcp() and took
 * in what libraries do behind it (a table of varargs, which compiled code fails
 * to guess the size of) would fail at each request, and the traces made for its
 * failures too.
 */
int pg_lua_socket_object(lua_State *L) {
  lua_createtable(L, 0, 8);
  lua_pushvalue(L, 1);
  lua_setmetatable(L, -2);
  return 1;
}

const pg_socket_api *pg_sockets(void) {
  static const pg_socket_api api = {
    .open = open_socket, .drop = drop,
    .room = pg_sock_room, .line = pg_sock_line, .bytes = pg_sock_bytes,
    .any = pg_sock_any, .rest = pg_sock_rest,
    .pattern_size = pg_pattern_size, .pattern = pg_pattern_make,
    .until = pg_sock_until, .until_rest = pg_sock_until_rest,
    .receive = pg_sock_receive, .send = pg_sock_send, .put = pg_sock_put,
    .stir = pg_sock_stir, .option = pg_sock_option, .why = pg_sock_why,
    .enter = pg_pool_enter, .turn = pg_pool_turn, .reuse = pg_pool_reuse,
    .keep = pg_pool_keep,
  };
  return &api;
}
