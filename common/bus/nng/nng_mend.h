/* Mends of nng 1.5.2, which is Debian 12's. Private to this room.
 *
 * 1. When the peer of a new ipc:// connection is gone before nng has written its greeting, the
 * write fails with EPIPE. nng maps that to NNG_ECLOSED, which its listener and its dialer take for
 * "I was closed": the listener never accepts again, the dialer never dials again. Any process that
 * connects and dies at the wrong moment, or that starts on an address in use, silences a server for
 * ever (nng's issue 1518, mended upstream in 1.6). So sendmsg reports a broken pipe of a unix
 * socket as a reset connection, which nng takes as what it is.
 *
 * 2. A message is read in two steps, its length and its body. When a pipe is closed between them,
 * the second read is refused because its aio was stopped, and nng then calls nobody back: the pipe
 * waits for that read for ever, and with it the one thread that takes down pipes, and every
 * nng_close after it. The same holds for the rest of a partial write. So a refused read or write of
 * a stream gets its callback, with NNG_ECLOSED.
 *
 * What is left: a message that is handed to a pipe in the moment of its closing is not freed, at
 * most one for each pipe.
 *
 * Both work by defining the function in the program: libnng's calls go through the dynamic linker
 * and find ours first; ours calls the original. Versions of nng other than 1.5.2 are left alone
 * in 2. */
#ifndef SAGA_BUS_NNG_MEND_H
#define SAGA_BUS_NNG_MEND_H

/* Finds the original functions. Called before a socket is made; it also brings this file into the
 * program. Thread: any. */
void saga_nng_mend(void);

#endif
