/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "dp.skel.h"
#include "dp/observe.h"

static const char *const stage_name[STAGE_N] = {
#define X(name, text, files, decides) [STAGE_##name] = text,
	STAGE_TABLE(X)
#undef X
};

struct event_row {
	enum stage stage;
	const char *text;
};
static const struct event_row event[EV_N] = {
#define X(name, stage_, text_) [EV_##name] = { STAGE_##stage_, text_ },
	EVENT_TABLE(X)
#undef X
};

static const char *const native_name[NATIVE_N] = {
#define X(name, text) [NATIVE_##name] = text,
	NATIVE_TABLE(X)
#undef X
};

static int put_vlan(struct dp *dp, __u32 vlan, char *buf, size_t size)
{
	struct stack_rec tags;

	if (stack_tags(dp, (__u16)vlan, &tags))
		return snprintf(buf, size, "%u.%u", tags.k.outer, tags.k.inner);
	return snprintf(buf, size, "%u", vlan);
}

/* {} decimal, {x} hex, {p} port, {v} VLAN, {r} drop reason, {n} kind of native function: see abi/stage.h. */
static void event_format(struct dp *dp, const struct trace_step *s, char *buf, size_t size)
{
	const char *t = event[s->event].text;
	size_t len = 0, arg = 0;

	while (*t && len + 1 < size) {
		__u32 v = arg < 3 ? s->arg[arg] : 0;
		int n = 0;

		if (*t != '{') {
			buf[len++] = *t++;
			continue;
		}
		if (t[1] == 'x')
			n = snprintf(buf + len, size - len, "%x", v);
		else if (t[1] == 'v')
			n = put_vlan(dp, v, buf + len, size - len);
		else if (t[1] == 'r')
			n = snprintf(buf + len, size - len, "%s", dp_drop_reason_text(v));
		else if (t[1] == 'n')
			n = snprintf(buf + len, size - len, "%s",
				     v && v < NATIVE_N ? native_name[v] : "function");
		else
			n = snprintf(buf + len, size - len, "%u", v);
		len = MIN_OF(len + (size_t)MAX_OF(n, 0), size - 1);
		t += t[1] == '}' ? 2 : 3;
		arg++;
	}
	buf[len] = 0;
}

static void step_of(struct dp *dp, const struct trace_step *s, struct dp_trace_step *ret)
{
	*ret = (struct dp_trace_step){ .stage = "?" };
	if (s->event >= EV_N)
		return;
	ret->stage = stage_name[event[s->event].stage];
	ret->drop = s->event == EV_OUT_DROP;
	if (s->event == EV_OUT_PORT || s->event == EV_FLOOD_TO)
		ret->out.num = (int)s->arg[0];
	if (s->event == EV_NATIVE)
		ret->native.num = (int)s->arg[1];
	if (s->event == EV_SG_RULE || s->event == EV_ACL_PERMIT || s->event == EV_ACL_DENY ||
	    s->event == EV_ACL_REJECT || s->event == EV_NAT_DST || s->event == EV_NAT_SRC)
		ret->rule = s->arg[0];
	event_format(dp, s, ret->text, sizeof(ret->text));
}

static int trace_run(struct dp *dp, ifindex in, vlan_id vlan, const void *frame, size_t size,
		     struct err *e)
{
	struct __sk_buff ctx = { 0 };
	CLEANUP(free_charp) char *out = malloc(size + 256);
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = (__u32)size,
		    .data_out = out, .data_size_out = (__u32)size + 256, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	int r;

	if (!out)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	do {
		random_bytes(&ctx.mark, sizeof(ctx.mark));
	} while (!ctx.mark);
	ctx.ifindex = (__u32)in.num;
	ctx.cb[0] = vlan.id;
	__atomic_store_n(&dp->g->trace_token, ctx.mark, __ATOMIC_SEQ_CST);
	r = bpf_prog_test_run_opts(dp->prog_fd, &o) ? -errno : 0;
	__atomic_store_n(&dp->g->trace_token, 0, __ATOMIC_SEQ_CST);
	return r ? err_errno(e, r, "run a packet of interface %d through the datapath", in.num) : 0;
}

int dp_trace(struct dp *dp, ifindex in, vlan_id vlan, const void *frame, size_t size,
	     struct dp_trace_step *ret, size_t max, struct err *e)
{
	CLEANUP(free_voidp) struct trace_buf *t = calloc(1, sizeof(*t));
	int fd = bpf_map__fd(dp->skel->maps.trace), r;
	__u32 zero = 0;
	size_t len;

	if (!t)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	if (size <= 14 || size > 2048) /* BPF_PROG_TEST_RUN wants something after the header */
		return err_set(e, FAULT_BAD_REQUEST, "frame",
			       "a frame has 15 to 2048 bytes, not %zu", size);
	if (bpf_map_update_elem(fd, &zero, t, BPF_ANY))
		return err_errno(e, errno, "trace buffer");
	r = trace_run(dp, in, vlan, frame, size, e);
	if (r)
		return r;
	if (bpf_map_lookup_elem(fd, &zero, t))
		return err_errno(e, errno, "trace buffer");
	for (len = 0; len < t->n && len < ABI_TRACE_STEPS && len < max; len++)
		step_of(dp, &t->steps[len], &ret[len]);
	return (int)len;
}
