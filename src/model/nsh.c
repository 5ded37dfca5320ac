/* SPDX-License-Identifier: Apache-2.0 */
#include "model/nsh.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

#define VALUE_MAX (NSH_CONTEXT_MAX - NSH_TLV_HEADER)

int nsh_fixed(struct str hex, uint8_t ret[static NSH_FIXED_SIZE])
{
	return str_from_hex(hex, ret, NSH_FIXED_SIZE);
}

static bool is_number(const json_t *v, json_int_t max)
{
	return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= max;
}

/* Length counts the value without its padding. */
static int put_tlv(const json_t *tlv, uint8_t *b, size_t room, struct err *e)
{
	const json_t *class = json_object_get(tlv, "class"), *type = json_object_get(tlv, "type"),
		     *value = json_object_get(tlv, "value");
	size_t size = json_string_length(value) / 2, padded = NSH_TLV_HEADER + (size + 3) / 4 * 4;
	uint8_t bytes[VALUE_MAX];

	if (json_object_size(tlv) != 3 || !class || !type || !json_is_string(value))
		return err_set(e, FAULT_BAD_REQUEST, NULL, "give class, type and value");
	if (!is_number(class, NSH_CLASS_MAX))
		return err_set(e, FAULT_BAD_REQUEST, "class", "a class is 0 to %d", NSH_CLASS_MAX);
	if (!is_number(type, NSH_TYPE_MAX))
		return err_set(e, FAULT_BAD_REQUEST, "type", "a type is 0 to %d", NSH_TYPE_MAX);
	if (size > VALUE_MAX || padded > room)
		return err_set(e, FAULT_BAD_REQUEST, "value",
			       "all TLVs have room for %d bytes, each with its header of 4 and padded to 4: give less",
			       NSH_CONTEXT_MAX);
	if (str_from_hex((struct str){ json_string_value(value), json_string_length(value) }, bytes,
			 size) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "value",
			       "a value is bytes: give two hexadecimal digits for each");
	memset(b, 0, padded);
	b[0] = (uint8_t)(json_integer_value(class) >> 8);
	b[1] = (uint8_t)json_integer_value(class);
	b[2] = (uint8_t)json_integer_value(type);
	b[3] = (uint8_t)size;
	memcpy(b + NSH_TLV_HEADER, bytes, size);
	return (int)padded;
}

int nsh_tlvs(const json_t *list, uint8_t ret[static NSH_CONTEXT_MAX], struct err *e)
{
	size_t i, at = 0;
	const json_t *tlv;

	json_array_foreach(list, i, tlv) {
		int n = put_tlv(tlv, ret + at, NSH_CONTEXT_MAX - at, e);
		char place[24];

		if (n < 0) {
			(void)snprintf(place, sizeof(place), "[%zu]", i);
			return err_in(e, place);
		}
		at += (size_t)n;
	}
	return (int)at;
}
