// Package disk opens files beneath a directory and reads them.
//
// Names come from clients. Whatever they hold, nothing outside the directory is
// opened: dot-dot segments and NUL bytes are refused before the kernel is
// asked, and the kernel resolves the rest in one call (openat2), so that a
// directory renamed meanwhile opens no way out.
//
//	root  /srv/www          opened for each question: a deployment may swap
//	   |                    the link that it is
//	   v
//	name  css/a.css  -----> openat2(root, name, beneath) -> fstat -> File
//
// All calls may block on the disk. Nothing here waits for anything else: FIFOs
// and devices are opened without waiting and refused by whoever asked.
package disk
