/* SPDX-License-Identifier: Apache-2.0 */
#include "node/chains.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "node/fabric.h"
#include "node/native.h"
#include "node/server.h"

#define PATHS_MAX 1024

struct chains {
	struct chain_rec *first;
	bool applying; /* an event in the middle of a pass does not start another one */
};

static intent_object *object_copy(const intent_object *o)
{
	size_t size = demarc__v1__object__get_packed_size(o);
	CLEANUP(free_voidp) uint8_t *buf = malloc(size + 1);

	if (!buf)
		return NULL;
	demarc__v1__object__pack(o, buf);
	return demarc__v1__object__unpack(NULL, size, buf);
}

static void object_drop(intent_object *o)
{
	if (o)
		demarc__v1__object__free_unpacked(o, NULL);
}

/* ---- what is in force, remembered ---- */

static void remember(struct node *n, const intent_object *o)
{
	size_t size = demarc__v1__object__get_packed_size(o);
	CLEANUP(free_voidp) uint8_t *buf = malloc(size + 1);
	CLEANUP(free_charp) char *hex = malloc(2 * size + 1);

	if (!buf || !hex)
		return;
	demarc__v1__object__pack(o, buf);
	hex_of(buf, size, hex);
	local_note_set(n->local, "chain", o->id, hex);
}

static intent_object *recall(struct node *n, const char *id)
{
	const char *hex = local_note(n->local, "chain", id);
	size_t size = hex ? strlen(hex) / 2 : 0;
	CLEANUP(free_voidp) uint8_t *buf = malloc(size + 1);
	intent_object *o;

	if (!hex || !buf || str_from_hex(str_of(hex), buf, size) < 0)
		return NULL;
	o = demarc__v1__object__unpack(NULL, size, buf);
	if (o && (o->body_case != DEMARC__V1__OBJECT__BODY_CHAIN || strcmp(o->id, id) != 0)) {
		object_drop(o);
		return NULL;
	}
	return o;
}

int chains_open(struct node *n, struct err *e)
{
	n->chains = calloc(1, sizeof(*n->chains));
	return n->chains ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "chains");
}

static void rec_free(struct chain_rec *c)
{
	object_drop(c->in_force);
	free(c);
}

void chains_close(struct node *n)
{
	while (n->chains && n->chains->first) {
		struct chain_rec *c = n->chains->first;

		n->chains->first = c->next;
		rec_free(c);
	}
	free(n->chains);
	n->chains = NULL;
}

const struct chain_rec *chains_first(const struct node *n)
{
	return n->chains->first;
}

static struct chain_rec *rec_get(struct node *n, const char *id)
{
	struct chain_rec *c = n->chains->first;

	while (c && strcmp(c->id, id) != 0)
		c = c->next;
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	(void)str_copy(c->id, sizeof(c->id), str_of(id));
	c->in_force = recall(n, id);
	if (c->in_force)
		c->tried_version = c->in_force->version;
	c->next = n->chains->first;
	n->chains->first = c;
	return c;
}

const char *chains_pair_partner(const struct node *n, const char *port_id)
{
	const intent_object *o;

	for (size_t pos = 0; (o = intent_next(n->intent, "chain", &pos));)
		for (size_t h = 0; h < o->chain->n_hops; h++)
			for (size_t p = 0; p < o->chain->hops[h]->n_pairs; p++) {
				const Demarc__V1__Pair *pair = o->chain->hops[h]->pairs[p];

				if (strcmp(pair->ingress_port_id, port_id) == 0)
					return pair->egress_port_id;
				if (strcmp(pair->egress_port_id, port_id) == 0)
					return pair->ingress_port_id;
			}
	return NULL;
}

const char *chain_of_number(const struct node *n, uint16_t chain)
{
	return local_id_find(n->local, LOCAL_CHAIN, chain);
}

/* ---- health ---- */

/* A vNIC that is being attached is not there yet, though its server is well. */
static bool is_wired(const struct server *s, const char *port_id)
{
	for (size_t i = 0; i < s->wired.n; i++)
		if (s->wired.slot[i].present && strcmp(s->wired.slot[i].port_id, port_id) == 0)
			return true;
	return false;
}

static bool port_healthy(struct node *n, const char *port_id, char *ret_why, size_t size)
{
	const Demarc__V1__Port *p = intent_port(n->intent, port_id);
	const struct server *s = p && *p->server_id ? server_find(n, p->server_id) : NULL;
	char why[160];

	if (!s) {
		(void)snprintf(ret_why, size, "port %s belongs to no function here", port_id);
		return false;
	}
	if (!server_healthy(s, why, sizeof(why))) {
		(void)snprintf(ret_why, size, "server %s: %s", s->id, why);
		return false;
	}
	if (is_wired(s, port_id))
		return true;
	(void)snprintf(ret_why, size, "server %s: the vNIC of port %s is being attached", s->id,
		       port_id);
	return false;
}

static bool pair_healthy(void *ctx, const Demarc__V1__Pair *p, char *ret_why, size_t size)
{
	return port_healthy(ctx, p->ingress_port_id, ret_why, size) &&
	       port_healthy(ctx, p->egress_port_id, ret_why, size);
}

/* ---- into the datapath's words ---- */

static void pair_of(struct node *n, const Demarc__V1__Pair *p, struct dp_pair *ret)
{
	const Demarc__V1__Port *in = intent_port(n->intent, p->ingress_port_id);

	*ret = (struct dp_pair){
		.in = native_port_index(n, p->ingress_port_id),
		.out = native_port_index(n, p->egress_port_id),
		.native = native_kind_of_port(n, p->ingress_port_id),
		.weight = (uint16_t)(p->weight ? p->weight : 1),
		.transparent = !in || in->n_fixed_ips == 0,
	};
}

static bool classifier_of(struct node *n, const Demarc__V1__Classifier *c, struct dp_classifier *ret)
{
	*ret = (struct dp_classifier){
		.family = (uint8_t)c->family,
		.proto = (uint8_t)c->protocol,
		.has_sport = c->has_source_ports,
		.has_dport = c->has_destination_ports,
		.sport_min = (uint16_t)c->source_port_min,
		.sport_max = (uint16_t)c->source_port_max,
		.dport_min = (uint16_t)c->destination_port_min,
		.dport_max = (uint16_t)c->destination_port_max,
	};
	if (*c->source_cidr)
		(void)!cidr_parse(str_of(c->source_cidr), &ret->src); /* was checked when it came */
	if (*c->destination_cidr)
		(void)!cidr_parse(str_of(c->destination_cidr), &ret->dst);
	if (*c->logical_source_port &&
	    !fabric_port_place(n, c->logical_source_port, &ret->src_port, &ret->src_vlan))
		return false;
	return !*c->logical_destination_port ||
	       fabric_port_place(n, c->logical_destination_port, &ret->dst_port, &ret->dst_vlan);
}

static void hop_of(struct node *n, const struct chain_hop *h, struct dp_hop *ret)
{
	ret->drop = h->drop;
	for (size_t i = 0; i < h->n_pairs; i++)
		pair_of(n, h->pairs[i], &ret->pairs[ret->n_pairs++]);
}

static int path_of(struct node *n, const char *id, const Demarc__V1__Chain *c,
		   const struct chain_view *v, struct dp_path *ret, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	ret->chain = (uint16_t)local_number(n->local, LOCAL_CHAIN, id);
	ret->symmetric = c->symmetric;
	if (!ret->chain)
		return err_set(e, FAULT_QUOTA, NULL, "more chains than the datapath can hold");
	for (size_t i = 0; i < v->n_hops; i++)
		if (v->hops[i].in_path)
			hop_of(n, &v->hops[i], &ret->hops[ret->n_hops++]);
	for (size_t i = 0; i < c->n_classifiers; i++) {
		if (!classifier_of(n, c->classifiers[i], &ret->classifiers[ret->n_classifiers]))
			return err_set(e, FAULT_NOT_FOUND, NULL,
				       "a logical port of classifier %s is not known here",
				       c->classifiers[i]->id);
		ret->n_classifiers++;
	}
	return 0;
}

/* ---- what became of it ---- */

static void hop_events(struct node *n, const struct chain_rec *c,
		       const struct chain_hop_status *old, const struct chain_hop *now)
{
	const char *name = *now->hop->name ? now->hop->name : now->hop->group_id;
	bool was = old && old->in_path && !old->drop, is = now->in_path && !now->drop;

	if (!old || was == is)
		return;
	if (is)
		node_event(n, "hop_restored", "info", "chain", c->id, "hop %s is in the path again",
			   name);
	else if (now->drop)
		node_event(n, "hop_dropped", "error", "chain", c->id, "hop %s drops: %s", name,
			   now->reason);
	else
		node_event(n, "hop_bypassed", "warning", "chain", c->id, "hop %s is bypassed: %s",
			   name, now->reason);
}

static const struct chain_hop_status *status_find(const struct chain_rec *c, const char *group_id)
{
	for (size_t i = 0; i < c->n_hops; i++)
		if (strcmp(c->hops[i].group_id, group_id) == 0)
			return &c->hops[i];
	return NULL;
}

static void status_of(const struct chain_hop *h, struct chain_hop_status *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->group_id, sizeof(ret->group_id), str_of(h->hop->group_id));
	(void)str_copy(ret->name, sizeof(ret->name), str_of(h->hop->name));
	(void)str_copy(ret->reason, sizeof(ret->reason), str_of(h->reason));
	ret->in_path = h->in_path && !h->drop;
	ret->drop = h->drop;
	for (size_t i = 0; i < h->n_pairs; i++)
		(void)str_copy(ret->healthy[ret->n_healthy++], UUID_STR_SIZE, str_of(h->pairs[i]->id));
}

static void note_hops(struct node *n, struct chain_rec *c, const struct chain_view *v)
{
	struct chain_hop_status now[CHAIN_HOPS_MAX];

	for (size_t i = 0; i < v->n_hops; i++) {
		hop_events(n, c, status_find(c, v->hops[i].hop->group_id), &v->hops[i]);
		status_of(&v->hops[i], &now[i]);
	}
	memcpy(c->hops, now, v->n_hops * sizeof(now[0]));
	c->n_hops = v->n_hops;
}

static void note_state(struct chain_rec *c, const intent_object *o, const struct chain_view *v)
{
	c->state = v->held     ? DEMARC__V1__CHAIN_STATE__CHAIN_HELD :
		   v->degraded ? DEMARC__V1__CHAIN_STATE__CHAIN_DEGRADED :
				 DEMARC__V1__CHAIN_STATE__CHAIN_ACTIVE;
	(void)str_copy(c->reason, sizeof(c->reason), str_of(v->held ? v->held_reason : ""));
	for (size_t i = 0; i < v->n_hops && !v->held && !*c->reason; i++)
		(void)str_copy(c->reason, sizeof(c->reason), str_of(v->hops[i].reason));
	(void)str_copy(c->held_change, sizeof(c->held_change),
		       str_of(v->held ? o->chain->change_id : ""));
}

static void flipped(struct chain_rec *c, const struct dp_flip_result *r)
{
	c->path = r->path;
	c->flipped_us = clock_wall_us();
	c->n_moved = r->n_moved;
	c->n_kept = r->n_kept;
	c->build_us = c->received_ns && (int64_t)r->flip_ns > c->received_ns ?
			      (uint64_t)((int64_t)r->flip_ns - c->received_ns) / NS_PER_US :
			      0;
}

static void log_flip(const struct chain_rec *c)
{
	log_info("chain_flipped", "chain=%s path=%u build_us=%llu moved=%llu kept=%llu", c->id,
		 c->path, (unsigned long long)c->build_us, (unsigned long long)c->n_moved,
		 (unsigned long long)c->n_kept);
}

static void now_in_force(struct node *n, struct chain_rec *c, const intent_object *o)
{
	intent_object *copy;

	if (c->in_force && c->in_force->version == o->version)
		return;
	copy = object_copy(o);
	if (!copy)
		return;
	object_drop(c->in_force);
	c->in_force = copy;
	remember(n, copy);
}

static void apply_one(struct node *n, const intent_object *o)
{
	struct chain_rec *c = rec_get(n, o->id);
	struct chain_view v;
	struct dp_path path;
	struct dp_flip_result r = { 0 };
	struct err e = { 0 };
	const Demarc__V1__Chain *use;
	bool is_new;
	int ret;

	if (!c)
		return;
	c->seen = true;
	if (c->tried_version != o->version)
		c->received_ns = n->intent_ns;
	c->tried_version = o->version;
	is_new = !c->in_force || c->in_force->version != o->version;
	chain_evaluate(o->chain, is_new && c->in_force ? c->in_force->chain : NULL, pair_healthy, n, &v);
	/* Only what is in force can be held. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	use = v.held ? c->in_force->chain : o->chain;
	ret = path_of(n, o->id, use, &v, &path, &e);
	if (ret == 0)
		ret = dp_chain_set(n->dp, &path,
				   is_new && !v.held && o->chain->mode == DEMARC__V1__FLIP_MODE__FLIP_KEEP ?
					   DP_FLIP_KEEP :
					   DP_FLIP_MOVE,
				   &r, &e);
	if (ret < 0) {
		c->state = DEMARC__V1__CHAIN_STATE__CHAIN_FAILED;
		(void)str_copy(c->reason, sizeof(c->reason), str_of(e.msg));
		log_limited(LOG_WARN_, "chain_refused", "chain=%s error=\"%s\"", o->id, e.msg);
		return;
	}
	if (ret > 0) {
		flipped(c, &r);
		log_flip(c);
	}
	c->path = r.path;
	if (is_new && !v.held) {
		if (ret == 0)
			flipped(c, &r); /* the same path under another name: in force at once */
		now_in_force(n, c, o);
	}
	note_hops(n, c, &v);
	note_state(c, o, &v);
}

static void remove_one(struct node *n, struct chain_rec *c)
{
	uint32_t number = local_number_find(n->local, LOCAL_CHAIN, c->id);
	struct err e = { 0 };

	if (number && dp_chain_del(n->dp, (uint16_t)number, &e) < 0)
		log_limited(LOG_WARN_, "chain_refused", "chain=%s error=\"%s\"", c->id, e.msg);
	local_note_set(n->local, "chain", c->id, NULL);
	rec_free(c);
}

static bool keep_chain(void *ctx, const char *id)
{
	struct node *n = ctx;

	return intent_find(n->intent, "chain", id) != NULL;
}

void chains_name_all(struct node *n)
{
	const intent_object *o;

	for (struct chain_rec *c = n->chains->first; c; c = c->next)
		c->seen = false;
	for (size_t pos = 0; (o = intent_next(n->intent, "chain", &pos));)
		apply_one(n, o);
	for (struct chain_rec **p = &n->chains->first; *p && !n->frozen;) {
		struct chain_rec *c = *p;

		if (c->seen) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		remove_one(n, c);
	}
	if (!n->frozen) {
		local_prune(n->local, LOCAL_CHAIN, keep_chain, n);
		local_note_prune(n->local, "chain", keep_chain, n);
	}
}

void chains_apply(struct node *n)
{
	if (n->chains->applying)
		return;
	n->chains->applying = true;
	chains_name_all(n);
	n->chains->applying = false;
}

void chains_collect(struct node *n)
{
	CLEANUP(free_voidp) struct dp_path_info *info = calloc(PATHS_MAX, sizeof(*info));
	int count = info ? dp_path_collect(n->dp, info, PATHS_MAX, NULL) : 0;

	for (struct chain_rec *c = n->chains->first; count >= 0 && c; c = c->next) {
		uint32_t number = local_number_find(n->local, LOCAL_CHAIN, c->id);

		c->n_draining = 0;
		for (int i = 0; i < count; i++)
			if (info[i].chain == number && !info[i].current)
				c->n_draining += info[i].n_flows;
	}
}
