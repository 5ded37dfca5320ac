/* SPDX-License-Identifier: Apache-2.0 */
#include "link/frame.h"

#include <errno.h>
#include <stdlib.h>

#include "base/str.h"
#include "link/link.h"

struct budget {
	size_t left_bytes;
};

static void *budget_alloc(void *data, size_t size)
{
	struct budget *b = data;

	if (size > b->left_bytes)
		return NULL;
	b->left_bytes -= size;
	return malloc(size ? size : 1);
}

/* Freed bytes are not given back: the budget bounds the work as well as the memory. */
static void budget_free(void *data, void *p)
{
	(void)data;
	free(p);
}

ProtobufCMessage *frame_unpack(const ProtobufCMessageDescriptor *d, const void *data, size_t size)
{
	struct budget b = { .left_bytes = FRAME_ALLOC_MAX };
	ProtobufCAllocator a = { .alloc = budget_alloc, .free = budget_free, .allocator_data = &b };

	return protobuf_c_message_unpack(d, &a, size, data);
}

/* One row per kind: who may send it. */
struct kind_row {
	Demarc__V1__Frame__BodyCase body;
	bool from_node, from_hub;
	const char *name;
};
static const struct kind_row kinds[] = {
	{ DEMARC__V1__FRAME__BODY_NODE_HELLO, true, false, "node_hello" },
	{ DEMARC__V1__FRAME__BODY_HUB_HELLO, false, true, "hub_hello" },
	{ DEMARC__V1__FRAME__BODY_PING, true, true, "ping" },
	{ DEMARC__V1__FRAME__BODY_PONG, true, true, "pong" },
	{ DEMARC__V1__FRAME__BODY_INTENT, false, true, "intent" },
	{ DEMARC__V1__FRAME__BODY_INTENT_ACK, true, false, "intent_ack" },
	{ DEMARC__V1__FRAME__BODY_REPORT, true, false, "report" },
	{ DEMARC__V1__FRAME__BODY_REPORT_ACK, false, true, "report_ack" },
	{ DEMARC__V1__FRAME__BODY_CHUNK_REQUEST, true, false, "chunk_request" },
	{ DEMARC__V1__FRAME__BODY_CHUNK, false, true, "chunk" },
	{ DEMARC__V1__FRAME__BODY_CALL, false, true, "call" },
	{ DEMARC__V1__FRAME__BODY_CALL_RESULT, true, false, "call_result" },
	{ DEMARC__V1__FRAME__BODY_GOODBYE, true, true, "goodbye" },
	{ DEMARC__V1__FRAME__BODY_TRUST, false, true, "trust" },
	{ DEMARC__V1__FRAME__BODY_CERT_REQUEST, true, false, "cert_request" },
	{ DEMARC__V1__FRAME__BODY_CERT_ISSUED, false, true, "cert_issued" },
	{ DEMARC__V1__FRAME__BODY_STREAM_OPEN, false, true, "stream_open" },
	{ DEMARC__V1__FRAME__BODY_STREAM_DATA, true, true, "stream_data" },
	{ DEMARC__V1__FRAME__BODY_STREAM_WINDOW, true, true, "stream_window" },
	{ DEMARC__V1__FRAME__BODY_STREAM_CLOSE, true, true, "stream_close" },
	{ DEMARC__V1__FRAME__BODY_PEER_ASK, true, false, "peer_ask" },
	{ DEMARC__V1__FRAME__BODY_PEER_GIVE, false, true, "peer_give" },
	{ DEMARC__V1__FRAME__BODY_PEER_GIVEN, true, false, "peer_given" },
	{ DEMARC__V1__FRAME__BODY_PEER_TAKE, false, true, "peer_take" },
};

static const struct kind_row *kind_find(const Demarc__V1__Frame *f)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].body == f->body_case)
			return &kinds[i];
	return NULL;
}

const char *frame_kind_name(const Demarc__V1__Frame *f)
{
	const struct kind_row *k = kind_find(f);

	return k ? k->name : "unknown";
}

static bool message_is_text_clean(const ProtobufCMessage *m);

static bool value_is_clean(const ProtobufCFieldDescriptor *f, const void *value)
{
	if (f->type == PROTOBUF_C_TYPE_STRING) {
		const char *s = *(const char *const *)value;
		return !s || str_is_utf8(str_of(s));
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		const ProtobufCMessage *m = *(const ProtobufCMessage *const *)value;
		return !m || message_is_text_clean(m);
	}
	return true;
}

static bool field_is_clean(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *base = (const char *)m;

	if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
		return true;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)(base + f->quantifier_offset);
		void *const *items = *(void *const *const *)(base + f->offset);

		for (size_t i = 0; i < n; i++)
			if (!value_is_clean(f, &items[i]))
				return false;
		return true;
	}
	/* Of a oneof, only the member that is set has a meaning. */
	if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	    *(const uint32_t *)(base + f->quantifier_offset) != f->id)
		return true;
	return value_is_clean(f, base + f->offset);
}

/* The schema has no recursive message, so the depth is the schema's own. */
static bool message_is_text_clean(const ProtobufCMessage *m)
{
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		if (!field_is_clean(m, &m->descriptor->fields[i]))
			return false;
	return true;
}

int frame_decode(enum frame_from from, const void *data, size_t size, Demarc__V1__Frame **ret,
		 struct err *e)
{
	CLEANUP(frame_freep) Demarc__V1__Frame *f = NULL;
	const struct kind_row *k;

	if (size > LINK_FRAME_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "frame of %zu bytes is larger than %u",
			       size, LINK_FRAME_MAX);
	f = (Demarc__V1__Frame *)frame_unpack(&demarc__v1__frame__descriptor, data, size);
	if (!f)
		return err_set(e, FAULT_PROTOCOL, NULL, "frame of %zu bytes does not decode", size);
	k = kind_find(f);
	if (k && !(from == FRAME_FROM_NODE ? k->from_node : k->from_hub))
		return err_set(e, FAULT_PROTOCOL, NULL, "a %s is not the %s's to send", k->name,
			       from == FRAME_FROM_NODE ? "node" : "hub");
	if (!message_is_text_clean(&f->base))
		return err_set(e, FAULT_PROTOCOL, NULL, "a %s holds text that is not UTF-8",
			       frame_kind_name(f));
	*ret = MOVE_PTR(f);
	return 0;
}

int frame_encode(const Demarc__V1__Frame *f, uint8_t **ret, size_t *ret_size)
{
	size_t size = demarc__v1__frame__get_packed_size(f);
	uint8_t *buf;

	if (size > LINK_FRAME_MAX)
		return -EMSGSIZE;
	buf = malloc(size ? size : 1);
	if (!buf)
		return -ENOMEM;
	demarc__v1__frame__pack(f, buf);
	*ret = buf;
	*ret_size = size;
	return 0;
}

void frame_free(Demarc__V1__Frame *f)
{
	if (f)
		demarc__v1__frame__free_unpacked(f, NULL);
}
