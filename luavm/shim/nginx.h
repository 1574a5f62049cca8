/*
 * nginx.h: types of nginx as libraries declare them in ffi.cdef. Used by
 * nginx_core.c and nginx_request.c, which define functions under nginx's
 * names for them. Not seen by Go.
 */
#ifndef PERIGEE_NGINX_H
#define PERIGEE_NGINX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim.h"

typedef struct { size_t len; u_char *data; } ngx_str_t;
/* What resty.core.base's get_request() gives: the slot. */
typedef pg_slot ngx_http_request_t;

enum { NGX_OK = 0, NGX_ERROR = -1, NGX_DECLINED = -5 };
enum { NO_REQ_CTX = -100, BAD_CONTEXT = -101 };

#endif
