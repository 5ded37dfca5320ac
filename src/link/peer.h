/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_LINK_PEER_H
#define DEMARC_LINK_PEER_H

/*
 * The process that gives an image to another node of the site, or takes one from it: TLS 1.3 with both nodes' certificates over a
 * connection that the agent has made (link/peer_sock.h), and pieces of one file (link/peer_wire.h). It has no privileges (link/sandbox.h),
 * and of the agent's files this one only. It ends when the file is whole, at the first thing that is not as it should be, and after
 * PEER_SILENT_S without a byte; everything else (how long in all, how fast at least) is the agent's, who kills it.
 */

#include <stdbool.h>

#define PEER_CHILD_ARG "--peer-child"
#define PEER_SILENT_S 10

/* Descriptors that the agent gives it. */
#define PEER_CONFIG_FD 3 /* to be read from its beginning: JSON */
#define PEER_SOCKET_FD 4
#define PEER_FILE_FD                                                                               \
	5 /* giver: the image, for reading; taker: what there is of it, where it is written on */

/*
 * JSON: "ca", "cert", "key": PEM, as of the channel; "user"; "give": true, false; "node_id": of the other end; "sha512": hex; "size":
 * bytes of the image; "have": of them that the taker has; "rate": the giver's bytes a second.
 */

/* Exit status. */
enum peer_end_kind {
	PEER_DONE,     /* giver: the other end has closed; taker: all there */
	PEER_CONFIG,   /* not what the agent says */
	PEER_TLS,      /* no handshake */
	PEER_STRANGER, /* another node than the one that the hub named */
	PEER_CLOSED,   /* silence, or closed early */
	PEER_GARBAGE,  /* not the protocol, or of another image */
	PEER_FILE,     /* reading, writing */
	PEER_END_KINDS
};
const char *peer_end_text(int status); /* "no handshake"; "it was killed" for what is none */

/* The whole life of `demarc-node --peer-child`. */
int peer_child_main(void);

#endif
