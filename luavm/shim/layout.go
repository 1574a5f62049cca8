//go:build cgo && luajit

package shim

// #cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include
// #include "shim.h"
import "C"

import "unsafe"

// Slot, Thread and VM against pg_slot, pg_thread and pg_vm: a difference does not compile
// (an array of negative length, or one of another length).
var (
	_ [unsafe.Sizeof(Str{})]byte  = [C.sizeof_pg_str]byte{}
	_ [unsafe.Sizeof(Slot{})]byte = [C.sizeof_pg_slot]byte{}
	_ [unsafe.Sizeof(VM{})]byte   = [C.sizeof_pg_vm]byte{}

	_ [InCount]byte  = [C.PG_IN_COUNT]byte{}
	_ [VarCount]byte = [C.PG_VAR_COUNT]byte{}

	_ [unsafe.Offsetof(Slot{}.In)]byte                 = [unsafe.Offsetof(C.pg_slot{}.in)]byte{}
	_ [unsafe.Offsetof(Slot{}.Vars)]byte               = [unsafe.Offsetof(C.pg_slot{}.vars)]byte{}
	_ [unsafe.Offsetof(Slot{}.Arena)]byte              = [unsafe.Offsetof(C.pg_slot{}.arena)]byte{}
	_ [unsafe.Offsetof(Slot{}.ArenaLen)]byte           = [unsafe.Offsetof(C.pg_slot{}.arena_len)]byte{}
	_ [unsafe.Offsetof(Slot{}.ID)]byte                 = [unsafe.Offsetof(C.pg_slot{}.id)]byte{}
	_ [unsafe.Offsetof(Slot{}.Gen)]byte                = [unsafe.Offsetof(C.pg_slot{}.gen)]byte{}
	_ [unsafe.Offsetof(Slot{}.Phase)]byte              = [unsafe.Offsetof(C.pg_slot{}.phase)]byte{}
	_ [unsafe.Offsetof(Slot{}.Flags)]byte              = [unsafe.Offsetof(C.pg_slot{}.flags)]byte{}
	_ [unsafe.Offsetof(Slot{}.Status)]byte             = [unsafe.Offsetof(C.pg_slot{}.status)]byte{}
	_ [unsafe.Offsetof(Slot{}.ExitCode)]byte           = [unsafe.Offsetof(C.pg_slot{}.exit_code)]byte{}
	_ [unsafe.Offsetof(Slot{}.HasExit)]byte            = [unsafe.Offsetof(C.pg_slot{}.has_exit)]byte{}
	_ [unsafe.Offsetof(Slot{}.Log)]byte                = [unsafe.Offsetof(C.pg_slot{}.log)]byte{}
	_ [unsafe.Offsetof(Slot{}.LogLen)]byte             = [unsafe.Offsetof(C.pg_slot{}.log_len)]byte{}
	_ [unsafe.Offsetof(Slot{}.LogDone)]byte            = [unsafe.Offsetof(C.pg_slot{}.log_done)]byte{}
	_ [unsafe.Offsetof(Slot{}.Out)]byte                = [unsafe.Offsetof(C.pg_slot{}.out)]byte{}
	_ [unsafe.Offsetof(Slot{}.OutLen)]byte             = [unsafe.Offsetof(C.pg_slot{}.out_len)]byte{}
	_ [unsafe.Offsetof(Slot{}.ChunkLast)]byte          = [unsafe.Offsetof(C.pg_slot{}.chunk_last)]byte{}
	_ [unsafe.Offsetof(Slot{}.ChunkSet)]byte           = [unsafe.Offsetof(C.pg_slot{}.chunk_set)]byte{}
	_ [unsafe.Offsetof(Slot{}.StartTime)]byte          = [unsafe.Offsetof(C.pg_slot{}.start_time)]byte{}
	_ [unsafe.Offsetof(Slot{}.StartNS)]byte            = [unsafe.Offsetof(C.pg_slot{}.start_ns)]byte{}
	_ [unsafe.Offsetof(Slot{}.BytesSent)]byte          = [unsafe.Offsetof(C.pg_slot{}.bytes_sent)]byte{}
	_ [unsafe.Offsetof(Slot{}.BodyBytesSent)]byte      = [unsafe.Offsetof(C.pg_slot{}.body_bytes_sent)]byte{}
	_ [unsafe.Offsetof(Slot{}.RequestLength)]byte      = [unsafe.Offsetof(C.pg_slot{}.request_length)]byte{}
	_ [unsafe.Offsetof(Slot{}.Connection)]byte         = [unsafe.Offsetof(C.pg_slot{}.connection)]byte{}
	_ [unsafe.Offsetof(Slot{}.ConnectionRequests)]byte = [unsafe.Offsetof(C.pg_slot{}.connection_requests)]byte{}
	_ [unsafe.Offsetof(Slot{}.BodyBuffer)]byte         = [unsafe.Offsetof(C.pg_slot{}.body_buffer)]byte{}
	_ [unsafe.Offsetof(Slot{}.HTTPMinor)]byte          = [unsafe.Offsetof(C.pg_slot{}.http_minor)]byte{}
	_ [unsafe.Offsetof(Slot{}.CtxKey)]byte             = [unsafe.Offsetof(C.pg_slot{}.ctx_key)]byte{}
	_ [unsafe.Offsetof(Slot{}.CtxRef)]byte             = [unsafe.Offsetof(C.pg_slot{}.ctx_ref)]byte{}
	_ [unsafe.Offsetof(Slot{}.CtxLeft)]byte            = [unsafe.Offsetof(C.pg_slot{}.ctx_left)]byte{}
	_ [unsafe.Offsetof(Slot{}.Unfilled)]byte           = [unsafe.Offsetof(C.pg_slot{}.unfilled)]byte{}
	_ [unsafe.Offsetof(Slot{}.ExtraN)]byte             = [unsafe.Offsetof(C.pg_slot{}.extra_n)]byte{}
	_ [unsafe.Offsetof(Slot{}.Extra)]byte              = [unsafe.Offsetof(C.pg_slot{}.extra)]byte{}
	_ [unsafe.Offsetof(Slot{}.Sockets)]byte            = [unsafe.Offsetof(C.pg_slot{}.sockets)]byte{}

	_ [unsafe.Offsetof(Slot{}.PeerStatus)]byte = [unsafe.Offsetof(C.pg_slot{}.peer_status)]byte{}

	_ [unsafe.Sizeof(Thread{})]byte = [C.sizeof_pg_thread]byte{}
	_ [unsafe.Sizeof(Note{})]byte   = [C.sizeof_pg_note]byte{}

	_ [unsafe.Offsetof(Thread{}.OpNum2)]byte = [unsafe.Offsetof(C.pg_thread{}.op_num2)]byte{}
	_ [unsafe.Offsetof(Thread{}.OpStr2)]byte = [unsafe.Offsetof(C.pg_thread{}.op_str2)]byte{}
	_ [unsafe.Offsetof(Thread{}.Res)]byte    = [unsafe.Offsetof(C.pg_thread{}.res)]byte{}
	_ [unsafe.Offsetof(Thread{}.ResNum)]byte = [unsafe.Offsetof(C.pg_thread{}.res_num)]byte{}
	_ [unsafe.Offsetof(Thread{}.Index)]byte  = [unsafe.Offsetof(C.pg_thread{}.index)]byte{}
	_ [unsafe.Offsetof(Thread{}.State)]byte  = [unsafe.Offsetof(C.pg_thread{}.state)]byte{}
	_ [unsafe.Offsetof(Thread{}.Serial)]byte = [unsafe.Offsetof(C.pg_thread{}.serial)]byte{}
	_ [unsafe.Offsetof(Thread{}.Co)]byte     = [unsafe.Offsetof(C.pg_thread{}.co)]byte{}
	_ [unsafe.Offsetof(Thread{}.Next)]byte   = [unsafe.Offsetof(C.pg_thread{}.next)]byte{}

	_ [unsafe.Offsetof(VM{}.Thread)]byte      = [unsafe.Offsetof(C.pg_vm{}.thread)]byte{}
	_ [unsafe.Offsetof(VM{}.Now)]byte         = [unsafe.Offsetof(C.pg_vm{}.now)]byte{}
	_ [unsafe.Offsetof(VM{}.WorkerID)]byte    = [unsafe.Offsetof(C.pg_vm{}.worker_id)]byte{}
	_ [unsafe.Offsetof(VM{}.WorkerCount)]byte = [unsafe.Offsetof(C.pg_vm{}.worker_count)]byte{}
	_ [unsafe.Offsetof(VM{}.Exiting)]byte     = [unsafe.Offsetof(C.pg_vm{}.exiting)]byte{}
	_ [unsafe.Offsetof(VM{}.LogLevel)]byte    = [unsafe.Offsetof(C.pg_vm{}.log_level)]byte{}
	_ [unsafe.Offsetof(VM{}.Crit)]byte        = [unsafe.Offsetof(C.pg_vm{}.crit)]byte{}

	_ [unsafe.Offsetof(VM{}.TimersRunning)]byte    = [unsafe.Offsetof(C.pg_vm{}.timers_running)]byte{}
	_ [unsafe.Offsetof(VM{}.TimersMaxPending)]byte = [unsafe.Offsetof(C.pg_vm{}.timers_max_pending)]byte{}
)
