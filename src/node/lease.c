/* SPDX-License-Identifier: Apache-2.0 */
#include "node/lease.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#define FILE_BYTES_MAX (8u << 20) /* DP_BINDINGS_MAX of the longest lines */
/* An end that differs by less from that in the file is the same: claims move on with each use, leases with the clock's corrections. */
#define CLAIM_SLACK_S 600
#define LEASE_SLACK_S 8

/* From the file, not put back yet: its interface is not there. */
struct waiting {
	char network[UUID_STR_SIZE], interface[IF_NAMESIZE];
	struct dp_binding b;
	int64_t until_s; /* monotonic; INT64_MAX: for ever */
};

struct leases {
	char path[512];
	json_t *saved; /* the rows in the file; NULL: there is none; null: something that is to be replaced */
	struct waiting *waiting;
	size_t n_waiting;
	unsigned n_ticks;
};

static int64_t mono_s(void)
{
	return clock_mono_ns() / NS_PER_S;
}

static int64_t wall_s(void)
{
	return clock_wall_us() / 1000000;
}

/* ---- reading ---- */

static int copy(char *to, size_t size, const json_t *row, const char *key, struct err *e)
{
	const char *text;
	int r = json_need_str(row, key, &text, e);

	if (r == 0 && str_copy(to, size, str_of(text)) < 0)
		r = err_set(e, FAULT_BAD_REQUEST, key, "is too long");
	return r;
}

static int row_addresses(const json_t *row, struct dp_binding *b, struct err *e)
{
	const char *mac, *addr;
	int r = json_need_str(row, "mac", &mac, e);

	if (r == 0)
		r = json_need_str(row, "address", &addr, e);
	if (r < 0)
		return r;
	if (mac_parse(str_of(mac), &b->mac) < 0 || cidr_parse(str_of(addr), &b->addr) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "address", "not a binding of an address to a MAC");
	return 0;
}

/* A clock that has not been set yet makes a lease longer by as much as the node was off. */
static int64_t time_left(int64_t until, int64_t saved)
{
	int64_t now = wall_s();

	return until - (now > saved ? now : saved);
}

/* 1: a binding that still lives; 0: it has ended. */
static int row_read(const json_t *row, int64_t saved, struct waiting *w, struct err *e)
{
	int64_t until = json_int(row, "until", 0), left, vlan = json_int(row, "vlan", 0);
	int r = copy(w->network, sizeof(w->network), row, "network", e);

	if (r == 0)
		r = copy(w->interface, sizeof(w->interface), row, "interface", e);
	if (r == 0)
		r = row_addresses(row, &w->b, e);
	if (r < 0)
		return r;
	if (vlan < 0 || vlan > UINT16_MAX)
		return err_set(e, FAULT_BAD_REQUEST, "vlan", "is 0 to %d", UINT16_MAX);
	w->b.vlan.id = (uint16_t)vlan;
	w->b.claimed = json_bool(row, "claimed", false);
	w->until_s = INT64_MAX;
	if (until < 0)
		return 1;
	left = time_left(until, saved);
	if (left > UINT32_MAX - 1)
		left = UINT32_MAX - 1;
	w->until_s = mono_s() + left;
	return left > 0;
}

static int rows_read(struct leases *l, const json_t *root, struct err *e)
{
	int64_t saved = json_int(root, "saved", 0);
	json_t *rows, *row;
	size_t i;
	int r = json_need_list(root, "bindings", &rows, e);

	if (r < 0)
		return r;
	if (json_array_size(rows) > DP_BINDINGS_MAX)
		return err_set(e, FAULT_TOO_LARGE, "bindings", "more than %d", DP_BINDINGS_MAX);
	l->waiting = calloc(json_array_size(rows) + 1, sizeof(*l->waiting));
	if (!l->waiting)
		return err_set(e, FAULT_NO_MEMORY, NULL, "leases");
	json_array_foreach(rows, i, row) {
		r = row_read(row, saved, &l->waiting[l->n_waiting], e);
		if (r < 0)
			return r;
		l->n_waiting += (size_t)r;
	}
	return 0;
}

static int load(struct leases *l, struct err *e)
{
	CLEANUP(free_charp) char *text = NULL;
	CLEANUP(json_freep) json_t *root = NULL;
	size_t size = 0;
	int r = file_read(l->path, FILE_BYTES_MAX, &text, &size, e);

	if (r == 0)
		r = json_parse((struct str){ text, size }, &root, e);
	return r < 0 ? r : rows_read(l, root, e);
}

int lease_open(struct node *n, struct err *e)
{
	CLEANUP(free_voidp) struct dp_binding *there = NULL;
	struct err why = { 0 };
	int known = dp_bindings(n->dp, &there, e), r;

	if (known < 0)
		return known;
	n->leases = calloc(1, sizeof(*n->leases));
	if (!n->leases)
		return err_set(e, FAULT_NO_MEMORY, NULL, "leases");
	(void)snprintf(n->leases->path, sizeof(n->leases->path), "%s/leases.json", n->cfg.state_dir);
	r = known > 0 ? 0 : load(n->leases, &why); /* a datapath that ran on knows better */
	if (r != -ENOENT)
		n->leases->saved = json_null();
	if (r < 0 && r != -ENOENT) {
		n->leases->n_waiting = 0;
		log_warn("leases_unread", "error=\"%s\"", why.msg);
	} else if (n->leases->n_waiting) {
		log_info("leases_found", "bindings=%zu", n->leases->n_waiting);
	}
	return 0;
}

/* ---- putting back ---- */

/* True: it is settled, one way or the other. */
static bool put_back(struct node *n, struct waiting *w)
{
	struct err e = { 0 };

	if (w->until_s != INT64_MAX && w->until_s <= mono_s())
		return true;
	w->b.port.num = (int)if_nametoindex(w->interface);
	w->b.net = (uint16_t)local_number_find(n->local, LOCAL_NETWORK, w->network);
	if (!w->b.port.num || !w->b.net)
		return false;
	w->b.left_s = w->until_s == INT64_MAX ? DP_BINDING_FOR_EVER :
						(uint32_t)(w->until_s - mono_s());
	if (dp_binding_restore(n->dp, &w->b, &e) < 0)
		log_limited(LOG_WARN_, "lease_refused", "error=\"%s\"", e.msg);
	return true;
}

void lease_pass(struct node *n)
{
	struct leases *l = n->leases;
	size_t left = 0;

	for (size_t i = 0; i < l->n_waiting; i++)
		if (!put_back(n, &l->waiting[i]))
			l->waiting[left++] = l->waiting[i];
	l->n_waiting = left;
}

/* ---- writing ---- */

/* `left` in seconds; -1: for ever. */
json_t *lease_row(const char *network, const char *interface, const struct dp_binding *b, int64_t left)
{
	char addr[CIDR_STR_SIZE], mac[MAC_STR_SIZE];
	int64_t until = left < 0 ? -1 : wall_s() + left;

	return json_pack("{s:s,s:s,s:i,s:s,s:s,s:b,s:I}", "network", network, "interface",
			 interface, "vlan", b->vlan.id, "address", cidr_format(b->addr, addr), "mac",
			 mac_format(b->mac, mac), "claimed", b->claimed, "until", (json_int_t)until);
}

static bool same_end(int64_t a, int64_t b, bool claimed)
{
	int64_t slack = claimed ? CLAIM_SLACK_S : LEASE_SLACK_S;

	if (a < 0 || b < 0)
		return a == b;
	return a - b < slack && b - a < slack;
}

static bool same_row(json_t *a, json_t *b)
{
	const char *key;
	json_t *v;

	json_object_foreach(a, key, v)
		if (strcmp(key, "until") != 0 && !json_equal(v, json_object_get(b, key)))
			return false;
	return same_end(json_int(a, "until", 0), json_int(b, "until", 0),
			json_bool(a, "claimed", false));
}

bool lease_rows_same(const json_t *a, const json_t *b)
{
	size_t i;
	json_t *row;

	if (!json_is_array(a) || !json_is_array(b) || json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, row)
		if (!same_row(row, json_array_get(b, i)))
			return false;
	return true;
}

static void add_known(struct node *n, json_t *rows, const struct dp_binding *b)
{
	const char *network = local_id_find(n->local, LOCAL_NETWORK, b->net);
	char name[IF_NAMESIZE];

	if (network && if_indextoname((unsigned)b->port.num, name))
		(void)json_array_append_new(
			rows, lease_row(network, name, b,
					b->left_s == DP_BINDING_FOR_EVER ? -1 : (int64_t)b->left_s));
}

static int by_address(const void *a, const void *b)
{
	const struct dp_binding *x = a, *y = b;
	int order = ip_cmp(x->addr.addr, y->addr.addr);

	if (order)
		return order;
	return x->net != y->net ? (int)x->net - y->net : x->addr.prefix_len - y->addr.prefix_len;
}

static json_t *rows_now(struct node *n, struct err *e)
{
	CLEANUP(free_voidp) struct dp_binding *v = NULL;
	struct leases *l = n->leases;
	int len = dp_bindings(n->dp, &v, e);
	json_t *rows = len < 0 ? NULL : json_array();

	if (len > 1)
		qsort(v, (size_t)len, sizeof(*v), by_address); /* the map has no order */
	for (int i = 0; rows && i < len; i++)
		add_known(n, rows, &v[i]);
	for (size_t i = 0; rows && i < l->n_waiting; i++) {
		const struct waiting *w = &l->waiting[i];

		(void)json_array_append_new(
			rows, lease_row(w->network, w->interface, &w->b,
					w->until_s == INT64_MAX ? -1 : w->until_s - mono_s()));
	}
	return rows;
}

static int save(struct node *n, struct err *e)
{
	CLEANUP(json_freep) json_t *rows = rows_now(n, e);
	CLEANUP(json_freep) json_t *root = NULL;
	CLEANUP(free_charp) char *file = NULL;
	struct leases *l = n->leases;
	int r;

	if (rows && lease_rows_same(l->saved, rows))
		return 0;
	if (rows && !l->saved && json_array_size(rows) == 0)
		return 0; /* a node without guards has no such file */
	root = rows ? json_pack("{s:I,s:O}", "saved", (json_int_t)wall_s(), "bindings", rows) : NULL;
	file = root ? json_text(root) : NULL;
	if (!file)
		return err_set(e, FAULT_NO_MEMORY, NULL, "leases");
	r = file_write_atomic(l->path, 0600, str_of(file), e);
	if (r < 0)
		return r;
	json_decref(l->saved);
	l->saved = MOVE_PTR(rows);
	return 0;
}

static void save_logged(struct node *n)
{
	struct err e = { 0 };

	if (save(n, &e) < 0)
		log_limited(LOG_WARN_, "leases_unsaved", "error=\"%s\"", e.msg);
}

void lease_tick(struct node *n)
{
	if (++n->leases->n_ticks % LEASE_SAVE_S == 0)
		save_logged(n);
}

void lease_close(struct node *n)
{
	if (!n->leases)
		return;
	save_logged(n);
	json_decref(n->leases->saved);
	free(n->leases->waiting);
	free(n->leases);
	n->leases = NULL;
}
