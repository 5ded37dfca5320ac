/* SPDX-License-Identifier: Apache-2.0 */
#include "pbjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* Of the field types only those of the schema matter here. */
#pragma GCC diagnostic ignored "-Wswitch-enum"

#define AT(m, offset, T) (*(T *)((char *)(m) + (offset)))

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_ENUM:
	case PROTOBUF_C_TYPE_FLOAT:
		return 4;
	}
	return 4;
}

static bool bytes_in(const char *hex, ProtobufCBinaryData *ret)
{
	ret->len = strlen(hex) / 2;
	ret->data = malloc(ret->len + 1);
	return ret->data && str_from_hex(str_of(hex), ret->data, ret->len) == 0;
}

static bool enum_in(const ProtobufCEnumDescriptor *d, const json_t *j, int *ret)
{
	const ProtobufCEnumValue *v =
		json_is_string(j) ?
			protobuf_c_enum_descriptor_get_value_by_name(d, json_string_value(j)) :
			NULL;

	*ret = v ? v->value : (int)json_integer_value(j);
	return v || json_is_integer(j);
}

static bool value_in(const ProtobufCFieldDescriptor *f, const json_t *j, void *to)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)to = json_is_string(j) ? strdup(json_string_value(j)) : NULL;
		return *(char **)to;
	case PROTOBUF_C_TYPE_BYTES:
		return json_is_string(j) && bytes_in(json_string_value(j), to);
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)to = json_is_true(j);
		return json_is_boolean(j);
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)to = pbjson_message(f->descriptor, j);
		return *(ProtobufCMessage **)to;
	case PROTOBUF_C_TYPE_ENUM:
		return enum_in(f->descriptor, j, to);
	default:
		if (size_of(f) == 8)
			*(int64_t *)to = json_integer_value(j);
		else
			*(int32_t *)to = (int32_t)json_integer_value(j);
		return json_is_integer(j);
	}
}

static bool list_in(const ProtobufCFieldDescriptor *f, const json_t *j, ProtobufCMessage *m)
{
	size_t n = json_array_size(j), size = size_of(f);
	char *list = calloc(n + 1, size);

	if (!json_is_array(j) || !list) {
		free(list);
		return false;
	}
	AT(m, f->offset, void *) = list;
	for (size_t i = 0; i < n; i++) {
		if (!value_in(f, json_array_get(j, i), list + i * size))
			return false;
		AT(m, f->quantifier_offset, size_t) = i + 1;
	}
	return true;
}

static bool field_in(const ProtobufCFieldDescriptor *f, const json_t *j, ProtobufCMessage *m)
{
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return list_in(f, j, m);
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		AT(m, f->quantifier_offset, uint32_t) = f->id;
	return value_in(f, j, (char *)m + f->offset);
}

ProtobufCMessage *pbjson_message(const ProtobufCMessageDescriptor *d, const json_t *j)
{
	ProtobufCMessage *m = calloc(1, d->sizeof_message);
	const char *key;
	json_t *v;

	if (!m || !json_is_object(j)) {
		free(m);
		return NULL;
	}
	protobuf_c_message_init(d, m);
	json_object_foreach((json_t *)(uintptr_t)j, key, v) {
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field_by_name(d, key);

		if (!f || !field_in(f, v, m)) {
			(void)fprintf(stderr, "pbjson: %s.%s does not fit\n", d->name, key);
			protobuf_c_message_free_unpacked(m, NULL);
			return NULL;
		}
	}
	return m;
}

static json_t *bytes_out(const ProtobufCBinaryData *b)
{
	char *hex = malloc(2 * b->len + 1);
	json_t *j;

	if (!hex)
		return NULL;
	hex_of(b->data, b->len, hex);
	j = json_string(hex);
	free(hex);
	return j;
}

static json_t *value_out(const ProtobufCFieldDescriptor *f, const void *from)
{
	const ProtobufCEnumValue *ev;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return json_string(*(char *const *)from);
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_out(from);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)from);
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(ProtobufCMessage *const *)from ?
			       pbjson_tree(*(ProtobufCMessage *const *)from) :
			       json_null();
	case PROTOBUF_C_TYPE_ENUM:
		ev = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)from);
		return ev ? json_string(ev->name) : json_integer(*(const int *)from);
	default:
		return json_integer(size_of(f) == 8 ? *(const int64_t *)from : *(const int32_t *)from);
	}
}

static json_t *list_out(const ProtobufCFieldDescriptor *f, const ProtobufCMessage *m)
{
	size_t n = AT(m, f->quantifier_offset, const size_t);
	const char *list = AT(m, f->offset, const char *const);
	json_t *j = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(j, value_out(f, list + i * size_of(f)));
	return j;
}

json_t *pbjson_tree(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	json_t *j = json_object();

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		    AT(m, f->quantifier_offset, const uint32_t) != f->id)
			continue;
		(void)json_object_set_new(j, f->name,
					  f->label == PROTOBUF_C_LABEL_REPEATED ?
						  list_out(f, m) :
						  value_out(f, (const char *)m + f->offset));
	}
	return j;
}
