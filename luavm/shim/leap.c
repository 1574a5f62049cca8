//go:build cgo && luajit

/*
 * leap.c: how a thread that a signal has interrupted is made to leave what it
 * runs. When that is asked for is in watchdog.c, from where it is allowed in
 * ranges.c.
 *
 *      the thread's stack               its registers, in the signal's frame
 *      ------------------               ------------------------------------
 *      pg_guarded   v->jump  <---+                  amd64   arm64
 *      lua_resume                |      continue    rip     pc     = leap
 *      ...                       |      with stack  rsp     sp     = below
 *   sp lj_str_find               |      and flag    DF      BTYPE  = 0
 *      4 KiB, not touched        |
 *      leap()  ----- longjmp ----+
 *
 * The handler only writes the registers and returns; sigreturn then loads
 * them, and puts the signal mask and the alternate stack right by itself.
 * What the interrupted code had in its registers is lost with its frames:
 * gcc takes the place where a __builtin_longjmp arrives for one that has
 * clobbered them all, so pg_guarded saves what belongs to its callers at its
 * own entry: rbx, rbp, r12..r15, or x19..x28 (Go's g is x28) and d8..d15.
 *
 * amd64. Below rsp there is a red zone of 128 bytes, and at the entry of a
 * function rsp is 8 below a multiple of 16, as after a call. The direction
 * flag has to be clear.
 *
 * arm64. There is no red zone, and the return address is in x30, which leap()
 * never uses; but sp has to be a multiple of 16, or the first access by it
 * traps. BTYPE says that the last instruction was an indirect branch: where
 * branch targets are checked (BTI), leap() would have to begin with a landing
 * pad for one of that kind, so it is cleared. Signed return addresses (PAC)
 * stay right: pg_guarded's was signed with the sp that longjmp restores. x18 is
 * the platform's, which on Linux means nobody's. A load-exclusive needs no
 * care: the return from the kernel clears the monitor.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <ucontext.h>

enum { UNTOUCHED = 4096 };

static void leap(void) { __builtin_longjmp(pg_inside()->jump, 1); }
static void leap_match(void) { __builtin_longjmp(pg_inside()->match_jump, 1); }

#if defined(__x86_64__)
static uintptr_t place(const ucontext_t *uc) {
  return (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
}

static void go_on_in(void (*to)(void), ucontext_t *uc) {
  greg_t *regs = uc->uc_mcontext.gregs;
  regs[REG_RSP] = ((regs[REG_RSP] - UNTOUCHED) & ~15L) - 8;
  regs[REG_RIP] = (greg_t)(uintptr_t)to;
  regs[REG_EFL] &= ~0x400L;              /* DF */
}
#elif defined(__aarch64__)
static uintptr_t place(const ucontext_t *uc) { return uc->uc_mcontext.pc; }

static void go_on_in(void (*to)(void), ucontext_t *uc) {
  mcontext_t *regs = &uc->uc_mcontext;
  regs->sp = (regs->sp - UNTOUCHED) & ~15UL;
  regs->pc = (uintptr_t)to;
  regs->pstate &= ~(3UL << 10);          /* BTYPE */
}
#else
#define NO_LEAPS
static uintptr_t place(const ucontext_t *uc) { (void)uc; return 0; }
static void go_on_in(void (*to)(void), ucontext_t *uc) { (void)to; (void)uc; }
#endif

int pg_can_leap(void) {
#ifdef NO_LEAPS
  return 0;
#else
  return pg_ranges_hold();
#endif
}

/*
 * For the handler: context is its third argument. Makes the thread leave the
 * match it is in, or else the call, whose state is poisoned by that; or counts
 * a refusal.
 */
void pg_leap(pg_state *v, void *context) {
  ucontext_t *uc = context;
  if (v->vm.crit || !pg_jump_allowed(place(uc))) {
    v->refused++;
    return;
  }
  v->kill_stage = 0;
  if (!v->matching) v->poisoned = 1;
  go_on_in(v->matching ? leap_match : leap, uc);
}
