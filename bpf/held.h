/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef DEMARC_BPF_HELD_H
#define DEMARC_BPF_HELD_H

/*
 * What a lookup returns may become another key's. The kernel's hash maps give the memory of an element that was replaced or removed to
 * the next writer at once, whether it was allocated beforehand or is lazily; RCU keeps it from the page allocator, not from the map. A program that
 * was interrupted between a lookup and its last look at the value reads another port, network or rule then: not torn, but whole and wrong.
 *
 * What only src/dp/ writes (ports, networks, MACs, addresses, chains, tunnels, targets of translations): dp_put() and dp_unset() count in
 * dp_globals.writes after each write, thus before the next one can get the memory. So who reads the count before its first lookup and finds
 * it unchanged after its last look has read what it asked for. First packets do: after the port's stage, of which what is learned follows, and
 * after all rules, before the record is made. They are asked about once more then. Known packets read their record only. A value that is
 * the same is not written again, so that a pass of the agent which changes nothing disturbs nobody.
 *   - A frame for many cannot be asked about twice, because copies are out: a network's row names the network, behind the members that are read.
 *   - Rules of tables have their own count, the slot: bpf/classify.h.
 *
 * What programs write:
 *   - flow records: one is removed when it and its partner are idle, or, of what is half open or long idle, to make room. A packet that
 *     finds it in that very instant, and is interrupted until another flow has it, is sent as one packet of that flow. The comparison of MACs, generation and
 *     time is done on the same memory, so it is the interruption between these and the redirect alone. Not mended: each packet would pay.
 *   - learned MACs: where and whose are 8 bytes that the kernel copies at once (struct fdb_rec), read as such.
 *   - bindings: a foreign one does not have the MAC and port of the sender, or is the sender's own; it is prolonged only if it still is what was read.
 *   - fragments, sources, refusals, floods, expectations, talkers: read for one packet or count; at worst a datagram is lost, or a count is off by
 *     one until it is made anew. What a fragment takes from a foreign row are ports, and for its own addresses these need a record, or rules, of their own.
 */

#include "maps_def.h"

static __always_inline __u32 writes_now(void)
{
	barrier(); /* loads stay in order: by the processor on x86; elsewhere it cannot hold one back for as long as two system calls take */
	return *(volatile __u32 *)&dp_globals.writes;
}

/* Since stage_port() began something was replaced or removed: what was read may be another's. */
static __always_inline int was_written(const struct pkt *p)
{
	return writes_now() != p->writes;
}

/* The entry that was learned for p->fdb; NULL: there is none. */
static __always_inline struct fdb_rec *learned_find(struct pkt *p)
{
	struct fdb_rec *r = bpf_map_lookup_elem(&fdb_learned, &p->fdb);

	if (!r)
		return 0;
	*(__u64 *)&p->learned = *(volatile __u64 *)r;
	return !p->learned.fixed || p->learned.fixed == fdb_tag(&p->fdb) ? &p->learned : 0;
}

#endif
