//go:build cgo && luajit

/*
 * fill.c: what Go fills in of a slot when a script first reads it.
 *
 *   Go                         C                        Lua
 *   unfilled = REQUEST  -->    pg_resume  ----------->  script
 *                              pg_fill    <-----------  ngx.var.uri
 *   Filler: vars[...]  <------ pg_fill_parts
 *   unfilled = 0       ------> "/a/b"     ----------->
 *
 * Most scripts read none of the two dozen variables that each request has, and
 * those that do read them each time: Go learns that from this call, and next
 * time fills them in before it starts the script.
 *
 * The one call from C to Go. It comes from every corner of a script, from where
 * no op could be waited for, too: a callback of table.sort, what require loads.
 * The filler runs no Lua and does not wait. The watchdog never jumps out of it:
 * crit is set, and Go's code lies in no range where that is allowed.
 */
#include "shim.h"
#include "request.h"

void pg_fill_by(pg_state *v, pg_filler filler, uintptr_t of)
{
  v->filler = filler;
  v->filler_of = of;
}

int pg_fill_parts(pg_slot *s, uint32_t parts)
{
  pg_state *v = pg_inside();
  int rc;
  if (!v || !v->filler)
    return PG_E_MEMORY;
  v->vm.crit++;
  rc = v->filler(v->filler_of, s->id, parts);
  v->vm.crit--;
  return rc ? PG_E_MEMORY : 0;
}
