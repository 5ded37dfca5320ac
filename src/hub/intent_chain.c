/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"

/* Port chains that have a hop on this node: hops in order, the pairs of each that are here, classifiers. */

/* Two arguments, both the node. */
#define CHAINS_HERE                                                                                \
	"(SELECT cg.chain_id FROM port p JOIN sfc_port_pair pp ON pp.ingress = p.id "              \
	"JOIN sfc_chain_group cg ON cg.group_id = pp.group_id WHERE p.node_id = ? "                \
	"UNION SELECT id FROM sfc_port_chain WHERE node_id = ?)"

static int chain_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_object_add(b, "chain", db_text(q, 0));
	Demarc__V1__Chain *c = ARENA_NEW(b->arena, Demarc__V1__Chain);
	CLEANUP(json_freep) json_t *parameters = db_json(q, 4);

	(void)ctx;
	(void)e;
	if (!o || !c)
		return -ENOMEM;
	demarc__v1__chain__init(c);
	c->name = intent_text(b, q, 1);
	c->change_id = intent_text(b, q, 2);
	c->mode = strcmp(db_text(q, 3), "keep") == 0 ? DEMARC__V1__FLIP_MODE__FLIP_KEEP :
						       DEMARC__V1__FLIP_MODE__FLIP_MOVE;
	c->symmetric = json_bool(parameters, "symmetric", false);
	o->body_case = DEMARC__V1__OBJECT__BODY_CHAIN;
	o->chain = c;
	return arena_failed(b->arena) ? -ENOMEM : 0;
}

static int hop_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	Demarc__V1__Hop *h = ARENA_NEW(b->arena, Demarc__V1__Hop);

	(void)e;
	if (!h)
		return -ENOMEM;
	if (!o)
		return 0;
	demarc__v1__hop__init(h);
	h->group_id = intent_text(b, q, 1);
	h->name = intent_text(b, q, 2);
	h->on_failure = strcmp(db_text(q, 3), "bypass") == 0 ?
				DEMARC__V1__ON_FAILURE__ON_FAILURE_BYPASS :
				DEMARC__V1__ON_FAILURE__ON_FAILURE_DROP;
	return INTENT_APPEND(b, o->chain->n_hops, o->chain->hops, h);
}

/* Rows come by chain, hop order, pair order. */
static int pair_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	Demarc__V1__Pair *p = ARENA_NEW(b->arena, Demarc__V1__Pair);
	CLEANUP(json_freep) json_t *parameters = db_json(q, 5);

	(void)e;
	if (!p)
		return -ENOMEM;
	demarc__v1__pair__init(p);
	p->id = intent_text(b, q, 2);
	p->ingress_port_id = intent_text(b, q, 3);
	p->egress_port_id = intent_text(b, q, 4);
	p->weight = (uint32_t)json_int(parameters, "weight", 1);
	for (size_t i = 0; o && i < o->chain->n_hops; i++) {
		Demarc__V1__Hop *h = o->chain->hops[i];
		if (strcmp(h->group_id, db_text(q, 1)) == 0)
			return INTENT_APPEND(b, h->n_pairs, h->pairs, p);
	}
	return 0;
}

/* NULL bounds: any port. One bound alone is a range of one. */
static bool port_range(struct db_rows *q, int col, uint32_t *min, uint32_t *max)
{
	if (db_is_null(q, col) && db_is_null(q, col + 1))
		return false;
	*min = (uint32_t)db_int(q, db_is_null(q, col) ? col + 1 : col);
	*max = (uint32_t)db_int(q, db_is_null(q, col + 1) ? col : col + 1);
	return true;
}

static int classifier_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	Demarc__V1__Classifier *c = ARENA_NEW(b->arena, Demarc__V1__Classifier);

	if (!c)
		return -ENOMEM;
	if (!o)
		return 0;
	demarc__v1__classifier__init(c);
	c->id = intent_text(b, q, 1);
	c->family = str_eq_nocase(str_of(db_text(q, 2)), STR("IPv6")) ? 6 : 4;
	if (intent_protocol(db_text(q, 3), c->family, &c->protocol) < 0)
		return err_set(e, FAULT_INTERNAL, "protocol",
			       "flow classifier %s has an unknown protocol", c->id);
	c->has_source_ports = port_range(q, 4, &c->source_port_min, &c->source_port_max);
	c->has_destination_ports = port_range(q, 6, &c->destination_port_min, &c->destination_port_max);
	c->source_cidr = intent_text(b, q, 8);
	c->destination_cidr = intent_text(b, q, 9);
	c->logical_source_port = intent_text(b, q, 10);
	c->logical_destination_port = intent_text(b, q, 11);
	return INTENT_APPEND(b, o->chain->n_classifiers, o->chain->classifiers, c);
}

static int build_hops(struct intent_build *b, size_t first, struct err *e)
{
	struct db_rows *q = NULL;
	int rc = db_query(b->db, &q, e,
			  "SELECT c.chain_id, g.id, g.name, g.on_failure FROM sfc_chain_group c "
			  "JOIN sfc_port_pair_group g ON g.id = c.group_id WHERE c.chain_id IN " CHAINS_HERE
			  " ORDER BY c.chain_id, c.ord",
			  "ss", b->node_id, b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, hop_row, &first, e);
	if (rc < 0)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT c.chain_id, c.group_id, x.id, x.ingress, x.egress, x.service_function_parameters "
		      "FROM sfc_chain_group c JOIN sfc_port_pair x ON x.group_id = c.group_id "
		      "JOIN port i ON i.id = x.ingress WHERE i.node_id = ? AND c.chain_id IN " CHAINS_HERE
		      " ORDER BY c.chain_id, c.ord, x.ord, x.id",
		      "sss", b->node_id, b->node_id, b->node_id);
	return rc < 0 ? rc : intent_each(b, q, pair_row, &first, e);
}

int intent_build_chains(struct intent_build *b, struct err *e)
{
	struct db_rows *q = NULL;
	size_t first = b->objects.n;
	int rc = db_query(b->db, &q, e,
			  "SELECT id, name, change_id, mode, chain_parameters FROM sfc_port_chain WHERE id IN " CHAINS_HERE
			  " ORDER BY id",
			  "ss", b->node_id, b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, chain_row, NULL, e);
	if (rc < 0 || b->objects.n == first)
		return rc;
	rc = build_hops(b, first, e);
	if (rc < 0)
		return rc;
	rc = db_query(
		b->db, &q, e,
		"SELECT chain_id, id, ethertype, protocol, source_port_range_min, source_port_range_max, "
		"destination_port_range_min, destination_port_range_max, source_ip_prefix, destination_ip_prefix, "
		"logical_source_port, logical_destination_port FROM sfc_flow_classifier WHERE chain_id IN " CHAINS_HERE
		" ORDER BY chain_id, ord, id",
		"ss", b->node_id, b->node_id);
	return rc < 0 ? rc : intent_each(b, q, classifier_row, &first, e);
}
