/* SPDX-License-Identifier: Apache-2.0 */

/* Loads the floor's programs, pins them, fills their maps and attaches them. */

#include "bench.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "floor.skel.h"

/* Every program and map by its name in DIR. */
static int load(const char *dir, uint64_t flows)
{
	struct floor_bpf *skel = floor_bpf__open();
	struct bpf_program *p;
	struct bpf_map *m;
	char path[256];

	if (!skel || bpf_map__set_max_entries(skel->maps.flows, (uint32_t)flows) ||
	    floor_bpf__load(skel))
		fail("floor", strerror(errno));
	bpf_object__for_each_program(p, skel->obj)
	{
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_program__name(p));
		if (bpf_program__pin(p, path))
			fail(path, strerror(errno));
	}
	bpf_object__for_each_map(m, skel->obj)
	{
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(m));
		if (!strchr(bpf_map__name(m), '.') && bpf_map__pin(m, path))
			fail(path, strerror(errno));
	}
	floor_bpf__destroy(skel);
	return 0;
}

static int pinned(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd < 0)
		fail(path, strerror(errno));
	return fd;
}

static int map(int argc, char **argv)
{
	int fd = pinned(argv[0]);

	for (int i = 1; i + 1 < argc; i += 2) {
		uint32_t key = (uint32_t)number("key", argv[i], UINT32_MAX);
		uint32_t value = (uint32_t)number("value", argv[i + 1], UINT32_MAX);

		if (bpf_map_update_elem(fd, &key, &value, BPF_ANY))
			fail(argv[0], strerror(errno));
	}
	return 0;
}

static int attach(const char *hook, const char *dev, const char *pin)
{
	int fd = pinned(pin), ifx = (int)if_nametoindex(dev), r;
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, h, .ifindex = ifx, .attach_point = BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, o, .handle = 1, .priority = 1, .prog_fd = fd,
			    .flags = BPF_TC_F_REPLACE);

	libbpf_set_print(NULL);
	if (!strcmp(hook, "xdp")) {
		r = bpf_xdp_attach(ifx, fd, 4 /* XDP_FLAGS_DRV_MODE */, NULL);
	} else {
		(void)bpf_tc_hook_create(&h);
		r = bpf_tc_attach(&h, &o);
	}
	if (r)
		fail(dev, strerror(-r));
	return 0;
}

/* How many packets the floor's programs have counted in records. */
static int counted(const char *pin)
{
	struct {
		uint32_t src, dst, ports, proto;
	} key, *before = NULL;
	uint64_t counts[2], pkts = 0, records = 0;
	int fd = pinned(pin);

	for (; !bpf_map_get_next_key(fd, before, &key); before = &key, records++)
		if (!bpf_map_lookup_elem(fd, &key, counts))
			pkts += counts[0];
	printf("{\"records\": %llu, \"pkts\": %llu}\n", (unsigned long long)records,
	       (unsigned long long)pkts);
	return 0;
}

int cmd_floor(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[0], "load"))
		return load(argv[1], number("flows", argv[2], 1 << 24));
	if (argc > 2 && !strcmp(argv[0], "map"))
		return map(argc - 1, argv + 1);
	if (argc == 4 && !strcmp(argv[0], "attach"))
		return attach(argv[1], argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[0], "counted"))
		return counted(argv[1]);
	fail("floor", "load DIR FLOWS | counted PIN | map PIN KEY VALUE... | attach tc|xdp DEV PIN");
}
