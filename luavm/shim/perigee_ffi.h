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
 *   performs             <-- thread.op, op_num, ... <-- yield
 *   op's result          --> res, in[PG_IN_DATA]    --> resumed
 *   cancels, wakes, ...  <-- notes                  <-- kill, post, timers
 *
 * Rules
 *  - in[] points into Go memory. It is set from the arguments of a resume
 *    and cleared before that resume returns: C never keeps a Go pointer.
 *  - Everything else a slot points to is C memory owned by the slot.
 *  - What must wait is an op: Lua fills its thread's op* and yields. Lua calls
 *    Go for one thing, parts of a slot that are unfilled when first read: fill.c.
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
  PG_PHASE_BODY_FILTER = 8, PG_PHASE_LOG = 9, PG_PHASE_TIMER = 10,
  PG_PHASE_SSL_CERT = 11, PG_PHASE_SSL_CLIENT_HELLO = 12,
  PG_PHASE_SERVER_REWRITE = 13, PG_PHASE_EXIT_WORKER = 14
};

enum {                       /* ops: what a script can wait for */
  PG_OP_NONE = 0,
  PG_OP_SLEEP = 1,           /* op_num: seconds */
  PG_OP_READ_BODY = 2,       /* then in[PG_IN_BODY] is there; res: 0 or 413.. */
  PG_OP_DISCARD_BODY = 3,
  PG_OP_FLUSH = 4,           /* send head and out; op_int: 1 = wait for it */
  PG_OP_EOF = 5,             /* send all and end the answer */
  PG_OP_SEND_HEADERS = 6,    /* ngx.send_headers */
  PG_OP_SEMAPHORE = 7,       /* op_num: seconds at most; res: PG_RES_* */
  PG_OP_ABORT = 8,           /* until the client is gone */
  PG_OP_CAPTURE = 40,        /* subrequests: see capture.lua */
  PG_OP_PIPE_SPAWN = 41, PG_OP_PIPE_READ = 42, PG_OP_PIPE_WRITE = 43,
  PG_OP_PIPE_WAIT = 44, PG_OP_PIPE_KILL = 45, PG_OP_PIPE_SHUTDOWN = 46,
  PG_OP_WORKER_THREAD = 47,  /* a function elsewhere: see worker_thread.lua */
  PG_OP_LIMIT = 52,          /* in a store; op_int: which, op_str: key, op_num:
                                cost. res: 1: allowed; in DATA: a pg_limit_out */
  PG_OP_SPEC = 56,           /* what specs ask their host for: op_str */

  /* not the host's: the scheduler in thread.c acts on them */
  PG_OP_PARK = 254,          /* until another thread calls core.ready */
  PG_OP_LEAVE = 255          /* ends the handler: exit_code is set */
};

typedef struct pg_thread {   /* a light thread: a base coroutine of a handler */
  uint32_t op;               /* PG_OP_*: what it waits for; NONE: it can run */
  int32_t op_int, op_int2;   /* arguments of the op */
  double op_num, op_num2;
  pg_str op_str, op_str2;    /* Lua's memory: Go copies it at once */
  int32_t res; double res_num;   /* the op's result */
  uint32_t slot_id, index;   /* whose thread; its number there */
  uint32_t state;            /* PG_THREAD_* */
  uint32_t hidden;           /* 1: the handler does not wait for its end */
  uint32_t serial;           /* grows with each wait: tells them apart */
  int32_t ref;               /* registry reference of co */
  void *co;                  /* lua_State of the base coroutine */
  void *run;                 /* pg_run of the handler */
  struct pg_thread *next;    /* in one of its run's lists, or free */
  void *reading; uint32_t reading_at;         /* see socket_quick.c */
} pg_thread;

enum {                       /* pg_thread.state */
  PG_THREAD_FREE = 0, PG_THREAD_READY = 1, PG_THREAD_RUNNING = 2,
  PG_THREAD_WAITING = 3,     /* for the host; so its Op is with Go */
  PG_THREAD_PARKED = 4,
  PG_THREAD_KILLED = 5       /* dead, but its Op is still with Go */
};

enum {                       /* what a run tells Go beside its ops */
  PG_NOTE_CANCEL = 1,        /* a, b: slot_id and index of a thread: its op */
  PG_NOTE_WAKE = 2,          /* the same; num: the wait's serial */
  PG_NOTE_TIMER = 3,         /* a: id, num: seconds */
  PG_NOTE_CLOSE = 4,         /* a: handle of a socket out of use */
  PG_NOTE_SESSION = 5,       /* a: of a TLS session; num: 1 or -1 holders */
  PG_NOTE_GRANT = 8,         /* as WAKE, of a semaphore's waiter */
  PG_NOTE_RETIRE = 9,        /* this VM is to be replaced by another */
  PG_NOTE_PIPE = 10          /* a: of a child process that Lua let go of */
};

typedef struct pg_note { uint32_t kind, a, b, c; double num; } pg_note;

enum {                       /* log records */
  PG_EDIT_REQ_SET = 1, PG_EDIT_REQ_ADD = 2, PG_EDIT_REQ_CLEAR = 3,
  PG_EDIT_RESP_SET = 4, PG_EDIT_RESP_ADD = 5, PG_EDIT_RESP_CLEAR = 6,
  PG_EDIT_METHOD = 7,        /* v: method */
  PG_EDIT_URI = 8,           /* v: decoded path; aux 1 = jump */
  PG_EDIT_ARGS = 9,          /* v: raw query string */
  PG_EDIT_BODY = 10,         /* v: new request body; aux: PG_BODY_* */
  PG_EDIT_VAR = 11,          /* k: variable name, v: value; aux 1 = nil */
  PG_EDIT_REASON = 12,       /* v: text behind the status; empty: the usual */
  PG_EDIT_PEER = 13,         /* k: server name, v: address, aux: port */
  PG_EDIT_PEER_TRIES = 14,   /* aux: how many more */
  PG_EDIT_PEER_TIMEOUTS = 15,   /* v: connect, send, read in seconds */
  PG_EDIT_PEER_KEEPALIVE = 16,  /* v: idle seconds and requests */
  PG_EDIT_TLS = 17,          /* aux: PG_TLS_* */
  PG_EDIT_EXEC = 18,         /* k: decoded path or @name, v: raw query */
  PG_EDIT_VALUE = 19         /* v: what the handler returned; aux 1: a table */
};

enum {                       /* what PG_EDIT_BODY says */
  PG_BODY_TEXT = 0,          /* v is the body */
  PG_BODY_FILE = 1,          /* v: path of the file it is in; k: its size */
  PG_BODY_TEMP = 2,          /* the same; the file goes with the exchange */
  PG_BODY_BEGUN = 3          /* v: path of a file that goes with it, too */
};

enum {                       /* what a script wants of a TLS handshake */
  PG_TLS_CLEAR = 0,          /* neither certificate nor key */
  PG_TLS_CERT = 1,           /* v: DER, the chain's certificates in a row */
  PG_TLS_KEY = 2,            /* v: DER */
  PG_TLS_VERIFY = 3,         /* v: DER of authorities; the client must show */
  PG_TLS_PROTOCOLS = 4       /* v: "TLSv1.2 TLSv1.3" */
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
  PG_VAR_DEFAULT_TYPE = 17,  /* Content-Type of an answer that names none */
  PG_VAR_BODY_FILE = 18,     /* where the request's body is, if in a file */
  PG_VAR_DOCUMENT_ROOT = 19,
  PG_VAR_RAW_HEAD = 20,      /* the client's head, where PG_IN_HEAD is not */
  PG_VAR_TRACEPARENT = 21, PG_VAR_COUNT = 22
};

typedef struct pg_slot {     /* one exchange's seat in a VM */
  pg_str in[4];              /* PG_IN_*; see the rules above */
  pg_str vars[22];           /* PG_VAR_*, in arena; p NULL: not set */
  char *arena; uint32_t arena_len, arena_cap;
  uint32_t id, gen;          /* seat number; grows with each exchange */
  uint32_t phase;            /* PG_PHASE_* */
  uint32_t flags;            /* PG_F_* */
  int32_t status;            /* ngx.status; 0: not set yet */
  int32_t exit_code;         /* ngx.exit's argument, when has_exit */
  uint32_t has_exit;         /* 1: the run ended by ngx.exit */
  char *log; uint32_t log_len, log_cap, log_done;
  char *out; uint32_t out_len, out_cap;   /* ngx.print */
  int32_t chunk_last;        /* body_filter: ngx.arg[2] */
  int32_t chunk_set;         /* body_filter: 1 = ngx.arg[1] replaced, in out */
  double start_time;         /* ngx.req.start_time, epoch seconds */
  int64_t start_ns;          /* CLOCK_MONOTONIC of the first byte */
  int64_t bytes_sent, body_bytes_sent, request_length;
  uint64_t connection, connection_requests;
  int64_t body_buffer;       /* bodies that are made go to a file above it */
  int32_t http_minor;        /* HTTP/1.minor; 20: HTTP/2 */
  int32_t peer_tries;        /* balancer: attempts so far, this one included */
  int32_t peer_most;         /* and how many there may be */
  int32_t peer_status;       /* how the last attempt ended; 0: none was made */
  uint32_t ctx_key;          /* not 0: ngx.ctx begins as P.handed[ctx_key] */
  uint32_t ctx_ref;          /* where ngx.ctx is in P.contexts; 0: none yet */
  uint32_t ctx_left_n;       /* where those before internal redirects are */
  uint32_t ctx_left[12], unfilled;   /* unfilled: PG_PART_*, see fill.c */
  uint32_t extra_n, extra_cap; pg_str *extra;  /* name,value pairs: set vars */
  const struct pg_socket_conf *sockets;   /* NULL: the defaults */
} pg_slot;

enum { PG_PART_REQUEST = 1, PG_PART_TRIES = 2 };   /* vars[]; upstream_* */
enum {                       /* pg_slot.flags */
  PG_F_HEADERS_SENT = 1,     /* the answer's head has left */
  PG_F_BODY_READ = 2,        /* read_body was done */
  PG_F_EOF = 4,              /* ngx.eof was called */
  PG_F_STATUS_SET = 8,       /* status was written by the script */
  PG_F_INTERNAL = 16, PG_F_SUBREQUEST = 32, PG_F_TLS = 64,
  PG_F_LOCAL = 128,          /* content is made here, not by an upstream */
  PG_F_UNDERSCORES = 256,    /* names in ngx.header keep their underscores */
  PG_F_UNBUFFERED = 512,     /* answers to HTTP/1.0 are not gathered */
  PG_F_WAITS = 1024,         /* scripts may wait where OpenResty forbids it */
  PG_F_CHECK_ABORT = 2048,   /* a client that leaves ends the handler */
  PG_F_ON_ABORT = 4096,      /* or runs what ngx.on_abort was given */
  PG_F_VALUE = 8192          /* the access handler's value is asked for */
};

typedef struct pg_vm {       /* what Lua may see of its VM */
  pg_slot *slot;             /* the slot that runs now; read again after waits */
  pg_thread *thread;         /* and its light thread */
  double now;                /* cached time, epoch seconds (ngx.now) */
  double fixed;              /* not 0: what now is while this run lasts */
  int32_t worker_id, worker_count, exiting;
  int32_t log_level;         /* ngx.log below this importance is dropped */
  int32_t crit;              /* > 0: in C code that holds a lock */
  int32_t timers_running;    /* handlers of ngx.timer under way */
  int32_t timers_max_running, timers_max_pending;
} pg_vm;

typedef struct pg_core_api {
  void (*update_time)(pg_vm *);
  /* both return 0, or -1 when memory or the slot's limit is exhausted */
  int (*edit)(pg_slot *, uint32_t kind, uint32_t aux,
              const char *k, uint32_t kn, const char *v, uint32_t vn);
  int (*print)(pg_slot *, const char *p, uint32_t n);
  /* one line for the process log; truncated at 4096 bytes, as nginx's */
  void (*log)(pg_vm *, int32_t level, const char *p, uint32_t n);
  /* a parked or new thread of the running handler can run: next, or last */
  void (*ready)(pg_vm *, pg_thread *, int32_t next);
  /* ends a thread of the running handler; its coroutine is never resumed */
  void (*kill)(pg_vm *, pg_thread *);
  /* how many threads of the running handler wait for such an op */
  int32_t (*waiting)(pg_vm *, uint32_t op);
  /* the handler waits for the end of this hidden thread from now on */
  void (*show)(pg_vm *);
  /* 0, or -1 when memory is short */
  int (*note)(pg_vm *, uint32_t kind, uint32_t a, uint32_t b, double num);
} pg_core_api;

/* ---- request: pg_request_api ---- */

enum {                       /* pg_slot.flags written by the request API */
  PG_F_COMMITTED = 65536,    /* the script sent something: the head is decided,
                                only the header filter may still change it */
  PG_F_BODY_SEEN = 131072,   /* ngx.print gave at least one byte */
  PG_F_HEADER_ONLY = 262144, /* committed answer to HEAD: no body is taken */
  PG_F_BUFFERING = 524288,   /* HTTP/1.0: all is gathered to know its length */
  PG_F_DISCARDED = 1048576,  /* ngx.req.discard_body was called */
  PG_F_REASON = 2097152,     /* ngx.resp.set_status gave a reason */
  PG_F_TYPELESS = 4194304,   /* Content-Type was taken away */
  PG_F_UNCONDITIONAL = 8388608,  /* If-Match and its like do not count */
  PG_F_BODY_TEMP = 16777216, /* the body's file goes when it is replaced */
  PG_F_RAW = 67108864        /* ngx.req.socket(true): the connection is its */
};

enum { PG_SIDE_REQ = 0, PG_SIDE_RESP = 1 };
enum { PG_FIELD_SET = 0, PG_FIELD_ADD = 1, PG_FIELD_CLEAR = 2 };
enum { PG_RES_OK = 0, PG_RES_ABORTED = -1, PG_RES_TIMEOUT = -2 };  /* res */
enum {                       /* answers of the functions below */
  PG_E_MEMORY = -1,          /* no memory, or the slot's limit is reached */
  PG_E_VALUE = -2,           /* a value that this field or variable refuses */
  PG_E_FIXED = -3,           /* variable is there but not changeable */
  PG_E_UNKNOWN = -4          /* no such variable */
};
enum {                       /* byte sets of escape; 0..8 as OpenResty's */
  PG_ESCAPE_URI = 0, PG_ESCAPE_ARGS = 1, PG_ESCAPE_COMPONENT = 2,
  PG_ESCAPE_HTML = 3, PG_ESCAPE_REFRESH = 4, PG_ESCAPE_MEMCACHED = 5,
  PG_ESCAPE_MAIL = 6, PG_ESCAPE_NAME = 7, PG_ESCAPE_VALUE = 8,
  PG_ESCAPE_QUERY = 9,       /* ngx.req.set_uri_args with a string */
  PG_ESCAPE_LOG = 10         /* \xHH, for texts of errors */
};

typedef struct pg_field { pg_str name, value; } pg_field;

/* What comes out points into lent heads, the log or memory of this thread:
   copy it (ffi.string) before the next call, edit or wait. */
typedef struct pg_request_api {
  /* values of one field, log replayed: how many there are; at most max given */
  int (*values)(pg_slot *, uint32_t side, const char *name, uint32_t n,
                pg_str *out, int32_t max);
  /* all fields, log replayed; lower: 1 = names in lower case */
  const pg_field *(*fields)(pg_slot *, uint32_t side, uint32_t lower,
                            int32_t *count);
  int (*set_field)(pg_slot *, uint32_t side, uint32_t mode,
                   const char *k, uint32_t kn, const char *v, uint32_t vn);
  /* before vars[] of these parts are read: 0, or -1 when memory is short */
  int (*fill)(pg_slot *, uint32_t parts);
  /* 1: out is the value; 0: not set */
  int (*get_var)(pg_vm *, const char *name, uint32_t n, pg_str *out);
  int (*set_var)(pg_slot *, const char *name, uint32_t n,
                 const char *v, uint32_t vn, uint32_t nil);
  /* METHOD, URI, ARGS and BODY edits; the variable shows it at once */
  int (*set_text)(pg_slot *, uint32_t kind, uint32_t aux,
                  const char *v, uint32_t vn);
  int (*body)(pg_slot *, pg_str *out);    /* 1: in memory; 0: none */
  /* an edit of the body; aux: PG_BODY_FILE, PG_BODY_TEMP or PG_BODY_BEGUN */
  int (*body_file)(pg_slot *, uint32_t aux, const char *path, uint32_t n,
                   double size);
  int (*raw_head)(pg_slot *, uint32_t without_line, pg_str *out);
  /* out may be the given text itself */
  int (*escape)(uint32_t set, const char *p, uint32_t n, pg_str *out);
  int (*unescape)(const char *p, uint32_t n, pg_str *out);
  /* pairs of a query; a value with p NULL is the boolean true.
     count[0]: how many; count[1]: 1 = cut at max (0: no limit).
     each: 1 = empty pairs count against max, as decode_args counts */
  const pg_field *(*pairs)(const char *p, uint32_t n, int32_t max,
                           uint32_t each, int32_t *count);
  /* offset of the first byte a URI may not have, or -1 */
  int (*unsafe_byte)(const char *p, uint32_t n);
} pg_request_api;

/* ---- data: pg_dict_api, pg_text_api ---- */

typedef struct pg_shdict pg_shdict;      /* one shared dictionary; opaque */

enum {                       /* what a dictionary operation answers */
  PG_DICT_OK = 0,
  PG_DICT_NOT_FOUND = -1, PG_DICT_EXISTS = -2, PG_DICT_NO_MEMORY = -3,
  PG_DICT_NOT_NUMBER = -4,   /* incr of something else */
  PG_DICT_NOT_LIST = -5, PG_DICT_IS_LIST = -6,
  PG_DICT_GROW = -7,         /* io->buf is too small: io->need bytes */
  PG_DICT_NO_LIST_ROOM = -8  /* no memory for a new list's head */
};

enum {                       /* types of values, as lua_type numbers them */
  PG_DICT_NIL = 0, PG_DICT_BOOL = 1, PG_DICT_NUMBER = 3,
  PG_DICT_STRING = 4, PG_DICT_LIST = 5
};

enum { PG_DICT_ADD = 1, PG_DICT_REPLACE = 2, PG_DICT_SAFE = 4 };

typedef struct pg_dict_io {  /* what does not fit into arguments; one per VM */
  double num;                /* number or 0/1; a count, a length, a ttl in ms */
  char *buf; uint32_t cap;   /* where strings are copied to; the caller's */
  uint32_t len;              /* length of the string in buf */
  double need;               /* with PG_DICT_GROW */
  int32_t type;              /* PG_DICT_* of the value */
  int32_t flags;             /* the 32 bits stored beside a value */
  int32_t stale;             /* 1: the value has expired */
  int32_t forcible;          /* 1: valid items had to go for it */
} pg_dict_io;

/* Keys are 1..65535 bytes, ttl is milliseconds with 0 = for ever. The first
   argument gives the time and the crit counter; NULL (from Go) is allowed. */
typedef struct pg_dict_api {
  int32_t (*get)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                 int32_t stale, pg_dict_io *);
  /* op: PG_DICT_ADD|...; io->type, num or v/vn, flags; NIL deletes */
  int32_t (*store)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                   int32_t op, const char *v, uint32_t vn, double ttl,
                   pg_dict_io *);
  int32_t (*incr)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                  int32_t has_init, double delta, double init, double ttl,
                  pg_dict_io *);
  int32_t (*ttl)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                 pg_dict_io *);
  int32_t (*expire)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                    double ttl);
  /* packed into io->buf: native uint16_t length, bytes; oldest first */
  int32_t (*keys)(pg_vm *, pg_shdict *, uint32_t max, pg_dict_io *);
  void (*flush_all)(pg_vm *, pg_shdict *);
  double (*flush_expired)(pg_vm *, pg_shdict *, uint32_t max);
  int32_t (*push)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                  int32_t left, const char *v, uint32_t vn, pg_dict_io *);
  int32_t (*pop)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                 int32_t left, pg_dict_io *);
  int32_t (*llen)(pg_vm *, pg_shdict *, const char *k, uint32_t kn,
                  pg_dict_io *);
  double (*capacity)(const pg_shdict *);
  double (*free_space)(pg_vm *, pg_shdict *);
} pg_dict_api;

enum { PG_BASE64_PLAIN = 0, PG_BASE64_NO_PADDING = 1, PG_BASE64_URL = 2 };

enum {                       /* forms of pg_text_api.format_time */
  PG_TIME_DATE = 0,          /* 2010-11-19, local */
  PG_TIME_LOCAL = 1,         /* 2010-11-19 20:56:31 */
  PG_TIME_UTC = 2,
  PG_TIME_HTTP = 3,          /* Fri, 19 Nov 2010 20:56:31 GMT */
  PG_TIME_COOKIE = 4         /* Fri, 19-Nov-10 20:56:31 GMT */
};

/* Lengths are doubles where they can pass 32 bits. No terminating NULs. */
typedef struct pg_text_api {
  double (*quoted_len)(const char *s, uint32_t n);
  void (*quote_sql)(const char *s, uint32_t n, char *dst);
  /* returns the length; dst holds 4 bytes for each 3, or part of 3 */
  double (*base64)(const char *s, uint32_t n, int32_t form, char *dst);
  /* returns the length or -1; dst holds 3 bytes for each 4, or part of 4 */
  double (*unbase64)(const char *s, uint32_t n, int32_t form, char *dst);
  uint32_t (*crc32)(const char *s, uint32_t n);
  void (*md5)(const char *s, uint32_t n, char *dst);        /* 16 bytes */
  void (*sha1)(const char *s, uint32_t n, char *dst);       /* 20 bytes */
  void (*hmac_sha1)(const char *k, uint32_t kn, const char *s, uint32_t n,
                    char *dst);                             /* 20 bytes */
  void (*hex)(const char *s, uint32_t n, char *dst);        /* 2n bytes */
  /* returns the length, at most 40 */
  uint32_t (*format_time)(double sec, int32_t form, char *dst);
  double (*parse_http_time)(const char *s, uint32_t n);     /* -1: not one */
} pg_text_api;

/* ---- limits: pg_limit_api ---- */

typedef struct pg_limit {    /* a limit, compiled: ratelimit/layout.go */
  void *table;               /* the mapping; its layout: ratelimit/slot.go */
  uint64_t seed;             /* of the hashes of this limit's keys */
  uint64_t interval, tau, slack;   /* GCRA: 1/2048 ns */
  uint64_t max, never;       /* most per window; a cost that never passes */
  uint64_t burst;            /* GCRA: what "limit" says */
  int64_t period;            /* window, ns */
  uint32_t kind, cls;        /* PG_LIMIT_*; of words, in fingerprints */
  uint32_t months;           /* 1: windows are calendar months */
  uint32_t name_len;         /* of the name behind this */
  uint64_t *counts;          /* decisions: allowed, delayed, denied; or NULL */
} pg_limit;

enum { PG_LIMIT_BUCKET = 0, PG_LIMIT_SLIDING = 1, PG_LIMIT_FIXED = 2,
       PG_LIMIT_STORE = 3 }; /* asked by PG_OP_LIMIT; cls: which */

typedef struct pg_limit_out {
  double remaining;          /* what is left; below 0: nobody knows */
  double wait;               /* ns: allowed: before it may go on; else until it
                                would be, -1: never */
  double reset;              /* ns until all is there again */
} pg_limit_out;

typedef struct pg_limit_api {
  /* 1: allowed and charged. now: ns of the table's clock; 0: this moment */
  int32_t (*take)(const pg_limit *, const char *k, uint32_t kn, double cost,
                  int64_t now, pg_limit_out *);
} pg_limit_api;

/* ---- regex: pg_regex_api ---- */

enum {                       /* flags of a pattern; the letters of ngx.re */
  PG_REGEX_ONCE = 1,         /* o: kept compiled; Lua's cache looks at it */
  PG_REGEX_DFA = 2,          /* d */
  PG_REGEX_JIT = 4,          /* j */
  PG_REGEX_DUPNAMES = 8,     /* D */
  PG_REGEX_ANY_BYTES = 16,   /* U: as u, and the subject may be no UTF-8 */
  PG_REGEX_CASELESS = 32, PG_REGEX_DOTALL = 64, PG_REGEX_MULTILINE = 128,
  PG_REGEX_EXTENDED = 256, PG_REGEX_ANCHORED = 512, PG_REGEX_UTF = 1024,
  PG_REGEX_JAVASCRIPT = 2048
};

enum {                       /* answers; others below 0 are PCRE1's numbers */
  PG_REGEX_NOMATCH = -1,
  PG_REGEX_STOPPED = -1001,  /* by the watchdog: raise, do not go on */
  PG_REGEX_MEMORY = -1002,   /* no memory for the result */
  /* a replacement text that cannot be read; the part at fault is in out */
  PG_REGEX_BAD_VARIABLE = -1003, PG_REGEX_OPEN_BRACKET = -1004,
  PG_REGEX_NAMED_VARIABLE = -1005
};

typedef struct pg_regex {    /* what Lua may see of a compiled pattern */
  int32_t ncaptures;         /* groups; 0 with PG_REGEX_DFA */
  int32_t name_count, name_entry_size;
  const uint8_t *name_table; /* entries: 2 bytes of number, name, NUL */
  int32_t *captures;         /* last match: from, to for 0..ncaptures; or -1 */
} pg_regex;

typedef struct pg_regex_out { /* in memory of the VM, until the next call */
  const char *p; uint32_t n; uint32_t count;
} pg_regex_out;

typedef struct pg_regex_api {
  /* of all patterns of this VM; 0: PCRE's own */
  void (*match_limit)(pg_vm *, uint32_t limit);
  /* NULL: out is the text of the error, which may name the pattern */
  pg_regex *(*compile)(pg_vm *, const char *p, uint32_t n, uint32_t flags,
                       pg_regex_out *);
  void (*destroy)(pg_regex *);
  /* searches from byte pos on; >= 0: matched */
  int32_t (*exec)(pg_regex *, const char *s, uint32_t n, uint32_t pos);
  /* puts t, with its $n, for the first match or all; how many in out */
  int32_t (*sub)(pg_regex *, const char *s, uint32_t n,
                 const char *t, uint32_t tn, uint32_t all, pg_regex_out *);
  /* bytes; 0, or -1 when memory is short */
  int32_t (*jit_stack)(pg_vm *, double size);
} pg_regex_api;
/* ---- sockets: pg_socket_api ---- */

enum {                       /* ops of sockets; op_num2: the pg_sock's address */
  PG_OP_SOCK_CONNECT = 16,   /* op_str: host or unix:path, op_int: port,
                                op_str2: local address or empty, op_num: s.
                                In DATA: the address in words of the log */
  PG_OP_SOCK_HANDSHAKE = 17, /* TLS; op_str: see socket_tls.lua */
  PG_OP_SOCK_READ = 18,      /* into buf from fill to cap; res: bytes, 0: end */
  PG_OP_SOCK_WRITE = 19,     /* out from out_pos to out_len, all of it */
  PG_OP_SOCK_QUEUE = 20      /* a turn in a pool, op_num: s; res: PG_RES_* */
};

enum {                       /* the same, by the host: the client's connection */
  PG_OP_REQ_READ = 48 /* body */, PG_OP_REQ_READ_RAW = 49, PG_OP_REQ_WRITE = 50
};

enum {                       /* pg_sock.flags */
  PG_SOCK_OPEN = 1,          /* connected and not closed */
  PG_SOCK_TLS = 2,           /* all I/O is Go's */
  PG_SOCK_DATAGRAM = 4,
  PG_SOCK_EOF = 8,           /* the peer has sent all */
  PG_SOCK_READ_SHUT = 16,    /* reading has failed */
  PG_SOCK_WRITE_SHUT = 32,
  PG_SOCK_CONNECTING = 64,   /* a thread waits, so others must not */
  PG_SOCK_READING = 128, PG_SOCK_WRITING = 256,
  PG_SOCK_FULL = 512,        /* the last read filled its room: more is there */
  PG_SOCK_DOWNSTREAM = 1024  /* the request's own connection */
};

enum {                       /* outcomes of I/O beside counts and -errno */
  PG_SOCK_AGAIN = -1000,     /* it would have to wait */
  PG_SOCK_TIMEOUT = -1001,
  PG_SOCK_BROKEN = -1002,    /* no errno says why */
  PG_SOCK_ABORTED = -1003,   /* the client has gone */
  PG_SOCK_UNRESOLVED = -1004,/* DATA: why */
  PG_SOCK_REFUSED = -1005    /* a handshake; DATA: why */
};

enum { PG_HANDSHAKE_VERIFY = 1 };     /* op_int of a handshake */
enum { PG_WANT = 0, PG_GOT = 1, PG_ENDED = 2 };   /* answers of readers */
enum { PG_QUIET = 0, PG_STIRRED = 1, PG_LEFT = 2 };   /* see stir */
enum { PG_POOL_OK = 0, PG_POOL_WAIT = 1, PG_POOL_FULL = 2 };

typedef struct pg_sock {     /* a connection; memory of the VM */
  uint32_t flags;            /* PG_SOCK_* */
  int32_t fd;
  uint32_t handle;           /* Go's name for it; 0: none */
  uint32_t ops;              /* ops with Go; until 0 the memory stays */
  uint32_t slot_id, gen;     /* whose it is */
  uint32_t reused;           /* times it came from a pool */
  uint32_t least;            /* first size of buf */
  char *buf; uint32_t cap, pos, fill, seen;   /* see socket_read.c */
  uint32_t reader;           /* the pattern whose matches seen counts */
  double read_at;            /* thread and serial of the last read's wait */
  pg_str got;                /* what a reader found */
  char *out; uint32_t out_pos, out_len, out_cap;
  uint32_t session;          /* TLS: Go's name for it; 0: none */
} pg_sock;

typedef struct pg_session { uint32_t id; } pg_session;   /* a script's */

typedef struct pg_link { struct pg_link *prev, *next; } pg_link;

typedef struct pg_pool {     /* connections of one name */
  int32_t size, backlog;     /* backlog -1: no bound on connections */
  int32_t count;             /* connections and connects under way or queued */
  uint32_t idle_n, refs;     /* refs: sockets that point here */
  pg_link idle, queue;       /* idle: last kept first; queue: first come first */
} pg_pool;

typedef struct pg_pattern pg_pattern;    /* of receiveuntil; opaque */

typedef struct pg_socket_conf {   /* of a route; ms, bytes */
  int32_t connect_ms, send_ms, read_ms, keepalive_ms;
  int32_t pool_size, buffer_size, log_errors;
} pg_socket_conf;

typedef struct pg_socket_api {
  /* a socket of the running slot, not connected; NULL: no memory */
  pg_sock *(*open)(pg_vm *, uint32_t least);
  void (*drop)(pg_sock *);   /* Lua holds it no more: closes too */
  /* readers; room: 0, or PG_E_MEMORY */
  int32_t (*room)(pg_sock *, uint32_t want);
  int32_t (*line)(pg_sock *);
  int32_t (*bytes)(pg_sock *, uint32_t n);
  int32_t (*any)(pg_sock *, uint32_t max);
  int32_t (*rest)(pg_sock *, int32_t as_line);
  uint32_t (*pattern_size)(uint32_t n);
  void (*pattern)(pg_pattern *, const char *p, uint32_t n, uint32_t inclusive);
  int32_t (*until)(pg_sock *, pg_pattern *, uint32_t size),
          (*until_rest)(pg_sock *, pg_pattern *);
  /* what can be done at once; the outcomes above. send gives how much went */
  int32_t (*receive)(pg_sock *);
  int32_t (*send)(pg_sock *, const char *p, uint32_t n);
  int32_t (*put)(pg_sock *, const char *p, uint32_t n);  /* adds to out */
  int32_t (*stir)(pg_sock *);   /* has anything come, or the peer left? */
  int32_t (*option)(pg_sock *, int32_t which, int32_t *value, int32_t set);
  uint32_t (*why)(int32_t errno_, char *dst, uint32_t n);  /* its text */
  /* pools */
  int32_t (*enter)(pg_sock *, pg_pool *, int32_t again);
  int32_t (*turn)(pg_sock *);   /* after a wait in the queue: 1 = its turn */
  uint32_t (*reuse)(pg_vm *, pg_pool *);   /* its handle; 0: none is idle */
  void (*keep)(pg_sock *, pg_pool *, double ms);
} pg_socket_api;

/* PERIGEE FFI END */

#endif
