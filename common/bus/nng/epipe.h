/* A mend of nng 1.5.2 (Debian 12's; its issue 1518, mended upstream in 1.6). Private to this room.
 *
 * When the peer of a new ipc:// connection is gone before nng has written its greeting, the write
 * fails with EPIPE. nng maps that to NNG_ECLOSED, which its listener and its dialer take for "I was
 * closed": the listener never accepts again, the dialer never dials again. Any process that
 * connects and dies at the wrong moment, or that starts on an address in use, silences the server
 * for ever. A reset connection (NNG_ECONNRESET) they take as what it is.
 *
 * So this room defines sendmsg itself: it calls the system's, and on a unix socket reports a broken
 * pipe as a reset connection. Every library of the process goes through it; none of them tells the
 * two apart. */
#ifndef SAGA_BUS_NNG_EPIPE_H
#define SAGA_BUS_NNG_EPIPE_H

/* Finds the system's function. Called before a socket is made; it also brings this file into the
 * program. Thread: any. */
void saga_epipe_arm(void);

#endif
