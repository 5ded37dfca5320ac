/* SPDX-License-Identifier: Apache-2.0 */
/* Intents: whatever decodes is judged without harm, and what passes can be relied on. */
#include "fuzz.h"

#include "base/types.h"
#include "demarc.pb-c.h"
#include "node/chain.h"
#include "node/validate.h"

static bool some_are_healthy(void *ctx, const Demarc__V1__Pair *p, char *ret_why, size_t size)
{
	(void)ctx;
	if (size)
		ret_why[0] = '\0';
	return p->id[0] & 1;
}

static void check_chain(const Demarc__V1__Chain *c)
{
	static struct chain_view v;

	chain_evaluate(c, NULL, some_are_healthy, NULL, &v);
	FUZZ_CHECK(!v.held && v.n_hops == c->n_hops);
}

static void check_object(const Demarc__V1__Object *o)
{
	struct uuid u;
	struct mac m;

	if (validate_object(o, NULL) < 0)
		return;
	FUZZ_CHECK(uuid_parse(str_of(o->id), &u) == 0);
	if (o->deleted)
		return;
	if (o->body_case == DEMARC__V1__OBJECT__BODY_PORT && !o->port->uplink)
		FUZZ_CHECK(mac_parse(str_of(o->port->mac), &m) == 0 && !mac_is_multicast(m));
	if (o->body_case == DEMARC__V1__OBJECT__BODY_SERVER)
		FUZZ_CHECK(o->server->image);
	if (o->body_case == DEMARC__V1__OBJECT__BODY_CHAIN)
		check_chain(o->chain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Demarc__V1__Intent *m = demarc__v1__intent__unpack(NULL, size, data);

	for (size_t i = 0; m && i < m->n_objects; i++)
		check_object(m->objects[i]);
	if (m)
		demarc__v1__intent__free_unpacked(m, NULL);
	return 0;
}
