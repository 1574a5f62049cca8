/*
 * perigee_ffi.h: the contract between Go, C and Lua.
 *
 * One text, three readers. C includes this file; cgo sees the same
 * declarations; Go embeds it and gives everything between the two marks to
 * ffi.cdef of every VM. So the marked part has no preprocessor lines, only
 * declarations that LuaJIT's C parser knows.
 *
 *      Go (exchange)            C memory (slot)             Lua (script)
 *   ---------------------    ----------------------     --------------------
 *   writes vars, numbers --> vars[], status, ...    --> read over FFI
 *   head, body, data     --> in[] for ONE resume    --> read over FFI
 *   applies, then sends  <-- log (edits), out       <-- ngx.header, ngx.print
 *   performs             <-- op, op_num, op_int     <-- yield
 *   op's result          --> res, in[PG_IN_DATA]    --> resumed
 *
 * Rules
 *  - in[] points into Go memory. It is set from the arguments of a resume
 *    and cleared before that resume returns: C never keeps a Go pointer.
 *  - Everything else a slot points to is C memory owned by the slot.
 *  - Lua never calls Go. What must wait is an op: Lua fills op* and yields.
 *  - The log is append-only while an exchange lives. Go applies records from
 *    log_done on after each run; reads in Lua replay the whole log over the
 *    raw head, so a read after a write sees the write.
 */
#ifndef PERIGEE_FFI_H
#define PERIGEE_FFI_H

#include <stddef.h>
#include <stdint.h>

/* PERIGEE FFI BEGIN */

/* ---- core: slot and VM ---- */

typedef struct pg_str { const char *p; uint32_t n; } pg_str;

enum {                       /* in[]: Go memory lent for one resume */
  PG_IN_HEAD = 0,            /* request head: request line, fields, CRLF CRLF */
  PG_IN_RESP = 1,            /* response head, the same form; may be empty */
  PG_IN_BODY = 2,            /* request body, once read */
  PG_IN_DATA = 3,            /* body_filter: the chunk; else an op's result */
  PG_IN_COUNT = 4
};

enum {                       /* stages, as ngx.get_phase() names them */
  PG_PHASE_INIT = 0, PG_PHASE_INIT_WORKER = 1, PG_PHASE_SET = 2,
  PG_PHASE_REWRITE = 3, PG_PHASE_ACCESS = 4, PG_PHASE_CONTENT = 5,
  PG_PHASE_BALANCER = 6, PG_PHASE_HEADER_FILTER = 7,
  PG_PHASE_BODY_FILTER = 8, PG_PHASE_LOG = 9, PG_PHASE_TIMER = 10
};

enum {                       /* ops: what a script can wait for */
  PG_OP_NONE = 0,
  PG_OP_SLEEP = 1,           /* op_num: seconds */
  PG_OP_READ_BODY = 2,       /* then in[PG_IN_BODY] is there; res: 0 or 413.. */
  PG_OP_DISCARD_BODY = 3,
  PG_OP_FLUSH = 4,           /* send head and out; op_int: 1 = wait for it */
  PG_OP_EOF = 5,             /* send all and end the answer */
  PG_OP_SEND_HEADERS = 6     /* ngx.send_headers */
};

enum {                       /* log records */
  PG_EDIT_REQ_SET = 1, PG_EDIT_REQ_ADD = 2, PG_EDIT_REQ_CLEAR = 3,
  PG_EDIT_RESP_SET = 4, PG_EDIT_RESP_ADD = 5, PG_EDIT_RESP_CLEAR = 6,
  PG_EDIT_METHOD = 7,        /* v: method */
  PG_EDIT_URI = 8,           /* v: decoded path; aux 1 = jump */
  PG_EDIT_ARGS = 9,          /* v: raw query string */
  PG_EDIT_BODY = 10,         /* v: new request body */
  PG_EDIT_VAR = 11           /* k: variable name, v: value; aux 1 = nil */
};

typedef struct pg_edit {     /* head of a record: k, then v, padded to 8 */
  uint32_t kind, aux, klen, vlen;
} pg_edit;

enum {                       /* vars[]: filled by Go, plain text */
  PG_VAR_URI = 0,            /* decoded, normalized path */
  PG_VAR_ARGS = 1,           /* raw query, without '?' */
  PG_VAR_REQUEST_URI = 2,    /* as sent by the client */
  PG_VAR_METHOD = 3, PG_VAR_HOST = 4, PG_VAR_SCHEME = 5,
  PG_VAR_PROTOCOL = 6,
  PG_VAR_REMOTE_ADDR = 7, PG_VAR_REMOTE_PORT = 8,
  PG_VAR_SERVER_ADDR = 9, PG_VAR_SERVER_PORT = 10, PG_VAR_SERVER_NAME = 11,
  PG_VAR_REQUEST_ID = 12,
  PG_VAR_UPSTREAM_ADDR = 13, PG_VAR_UPSTREAM_STATUS = 14,
  PG_VAR_UPSTREAM_RESPONSE_TIME = 15,
  PG_VAR_ROUTE = 16,         /* name of the matched route */
  PG_VAR_COUNT = 17
};

typedef struct pg_slot {     /* one exchange's seat in a VM */
  pg_str in[4];              /* PG_IN_*; see the rules above */
  pg_str vars[17];           /* PG_VAR_*, in arena; p NULL: not set */
  char *arena; uint32_t arena_len, arena_cap;
  uint32_t id, gen;          /* seat number; grows with each exchange */
  uint32_t phase;            /* PG_PHASE_* */
  uint32_t flags;            /* PG_F_* */
  int32_t status;            /* ngx.status; 0: not set yet */
  int32_t exit_code;         /* ngx.exit's argument, when has_exit */
  uint32_t has_exit;         /* 1: the run ended by ngx.exit */
  uint32_t op; int32_t op_int; double op_num; pg_str op_str;
  int32_t res; double res_num;   /* an op's result */
  char *log; uint32_t log_len, log_cap, log_done;
  char *out; uint32_t out_len, out_cap;   /* ngx.print */
  int32_t chunk_last;        /* body_filter: ngx.arg[2] */
  int32_t chunk_set;         /* body_filter: 1 = ngx.arg[1] replaced, in out */
  double start_time;         /* ngx.req.start_time, epoch seconds */
  int64_t start_ns;          /* CLOCK_MONOTONIC of the first byte */
  int64_t bytes_sent, body_bytes_sent, request_length;
  uint64_t connection, connection_requests;
  int32_t http_minor;        /* HTTP/1.minor; 20: HTTP/2 */
  uint32_t extra_n, extra_cap; pg_str *extra;  /* name,value pairs: set vars */
} pg_slot;

enum {                       /* pg_slot.flags */
  PG_F_HEADERS_SENT = 1,     /* the answer's head has left */
  PG_F_BODY_READ = 2,        /* read_body was done */
  PG_F_EOF = 4,              /* ngx.eof was called */
  PG_F_STATUS_SET = 8,       /* status was written by the script */
  PG_F_INTERNAL = 16, PG_F_SUBREQUEST = 32, PG_F_TLS = 64,
  PG_F_LOCAL = 128           /* content is made here, not by an upstream */
};

typedef struct pg_vm {       /* what Lua may see of its VM */
  pg_slot *slot;             /* the slot that runs now; read again after waits */
  double now;                /* cached time, epoch seconds (ngx.now) */
  int32_t worker_id, worker_count;
  int32_t exiting;
  int32_t log_level;         /* ngx.log below this importance is dropped */
  int32_t crit;              /* > 0: in C code that holds a lock */
} pg_vm;

typedef struct pg_core_api {
  void (*update_time)(pg_vm *);
  /* both return 0, or -1 when memory or the slot's limit is exhausted */
  int (*edit)(pg_slot *, uint32_t kind, uint32_t aux,
              const char *k, uint32_t kn, const char *v, uint32_t vn);
  int (*print)(pg_slot *, const char *p, uint32_t n);
  /* one line for the process log; truncated at 4096 bytes, as nginx's */
  void (*log)(pg_vm *, int32_t level, const char *p, uint32_t n);
} pg_core_api;

/* ---- request: pg_request_api ---- */

/* ---- data: pg_dict, pg_text_api ---- */

/* PERIGEE FFI END */

#endif
