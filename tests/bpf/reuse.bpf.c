/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The datapath, interrupted at the worst moment: between the lookup of an element and the first look at its value a writer replaces it, and then
 * another one, which gets its memory. The test says of which map, and what is written.
 */

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "reuse.h"

int interrupt(__u32 map, __u64 key);

#define IS_OF(map, name, id) (__builtin_strcmp(#map, "&" #name) == 0) ? REUSE_##id:
#define bpf_map_lookup_elem(map, key)                                                              \
	({                                                                                         \
		void *found_ = (bpf_map_lookup_elem)(map, key);                                    \
		__u32 of_ = REUSE_TABLE_OF(map) REUSE_NONE;                                        \
		__u64 key_ = 0;                                                                    \
		if (of_ && found_) {                                                               \
			__builtin_memcpy(&key_, key, sizeof(*(key)) < 8 ? sizeof(*(key)) : 8);     \
			interrupt(of_, key_);                                                      \
		}                                                                                  \
		found_;                                                                            \
	})
#define REUSE_TABLE_OF(map)                                                                        \
	IS_OF(map, ports, PORTS)                                                                   \
	IS_OF(map, nets, NETS)                                                                     \
	IS_OF(map, fdb, FDB) IS_OF(map, fdb_learned, LEARNED) IS_OF(map, addrs, ADDRS)

#include "../../bpf/tc.bpf.c"

#undef bpf_map_lookup_elem

MAP(script, BPF_MAP_TYPE_ARRAY, __u32, struct reuse_script, 1);

#define WRITE(id, name)                                                                            \
	case REUSE_##id:                                                                           \
		if (s->remove)                                                                     \
			bpf_map_delete_elem(&name, s->key);                                        \
		else                                                                               \
			bpf_map_update_elem(&name, s->key, s->value, BPF_ANY);                     \
		break;

static __always_inline void reuse_write(__u32 map, struct reuse_step *s)
{
	switch (map) {
		WRITE(PORTS, ports)
		WRITE(NETS, nets)
		WRITE(FDB, fdb)
		WRITE(LEARNED, fdb_learned)
		WRITE(ADDRS, addrs)
	}
	if (s->counted)
		__sync_fetch_and_add(&dp_globals.writes, 1);
}

__noinline int interrupt(__u32 map, __u64 key)
{
	__u32 zero = 0;
	struct reuse_script *s = bpf_map_lookup_elem(&script, &zero);

	if (!s || !s->armed || s->map != map || key != s->first)
		return 0;
	s->armed--;
	if (s->armed)
		return 0;
	reuse_write(map, &s->step[0]);
	reuse_write(map, &s->step[1]);
	return 0;
}
