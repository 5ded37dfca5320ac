/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_LOCAL_H
#define DEMARC_NODE_LOCAL_H

/*
 * What the node decides for itself and must remember: the small numbers by which the kernel knows the objects of the
 * intent, and what has been carried out (reboots, the chain change in force, which image a disk was made from).
 *
 * One JSON file, state_dir/local.json, replaced atomically. Losing it costs flow records, not correctness: numbers
 * are given anew and the datapath's sweep removes the old ones.
 * Thread: the reconciler's.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/types.h"

struct local;

enum local_kind {
	LOCAL_NETWORK,
	LOCAL_PORT,
	LOCAL_SG,
	LOCAL_CHAIN,
	LOCAL_ACL,
	LOCAL_ADDRESS_GROUP,
	LOCAL_METER,
	LOCAL_TUNNEL,
	LOCAL_N_KINDS
};

#define LOCAL_PORT_BASE                                                                            \
	65536 /* ifindexes of host ends start here, out of the way of the kernel's own */

WARN_UNUSED int local_open(const char *state_dir, struct local **ret, struct err *e);
void local_close(struct local *l);
DEFINE_CLEANUP(struct local *, local_close)
/* Writes the file when something changed since the last time. Call before acting on new numbers. */
WARN_UNUSED int local_save(struct local *l, struct err *e);

/* The number of an object, given on first sight; 0 when all are taken. Numbers: network 1..65535, port 1..2^20 (the
 * ifindex is LOCAL_PORT_BASE + it), security group and address group 1..2^24 - 1, chain 1..1023, list of rules 1..65535,
 * limited port 1..2047, tunnel 1..2^20. */
uint32_t local_number(struct local *l, enum local_kind kind, const char *id);
/* As above, without giving one: 0 when there is none. */
uint32_t local_number_find(const struct local *l, enum local_kind kind, const char *id);
/* The id that has the number, or NULL. Borrowed. */
const char *local_id_find(const struct local *l, enum local_kind kind, uint32_t number);
/* Forgets the numbers of a kind for which keep() says no. */
void local_prune(struct local *l, enum local_kind kind, bool (*keep)(void *ctx, const char *id),
		 void *ctx);

ifindex local_port_index(struct local *l, const char *port_id); /* 0: none left */
/* "dm" and the first 12 hex digits of the id. */
void local_port_name(const char *port_id, char ret[static IF_NAMESIZE]);

/* Notes: short texts under (topic, id). Topics: "reboot" carried-out generation of a server, "image" SHA-512 a
 * server's disk was made from, "chain" the change in force (packed Object in hex), "run" what a server's run was made from, "wiring" hash of its
 * vNICs, "healthy" when it was at the end of the last pass. NULL removes. */
const char *local_note(const struct local *l, const char *topic, const char *id); /* NULL: none. Borrowed. */
void local_note_set(struct local *l, const char *topic, const char *id, const char *text);
void local_note_prune(struct local *l, const char *topic, bool (*keep)(void *ctx, const char *id),
		      void *ctx);

#endif
