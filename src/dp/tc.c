/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <errno.h>

#include <bpf/libbpf.h>

/* One filter of ours per interface, always at the same place, so that replacing it is atomic. */
#define TC_HANDLE 1
#define TC_PRIORITY 1

int tc_attach(struct dp *dp, int ifx, struct err *e)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifx, .attach_point = BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY,
			    .prog_fd = dp->prog_fd, .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);

	if (r && r != -EEXIST)
		return err_errno(e, r, "clsact on interface %d", ifx);
	r = bpf_tc_attach(&hook, &opts);
	if (r)
		return err_errno(e, r, "tc filter on interface %d", ifx);
	return 0;
}

/* Ours, and this very program: an interface made again with the same ifindex has lost its filter. */
bool tc_is_attached(struct dp *dp, int ifx)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifx, .attach_point = BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);

	return !bpf_tc_query(&hook, &opts) && opts.prog_id == dp->prog_id;
}

void tc_detach(int ifx)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifx, .attach_point = BPF_TC_INGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);

	(void)bpf_tc_detach(&hook, &opts); /* the interface may be gone, and the filter with it */
}
