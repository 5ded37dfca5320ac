/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tcp_flags.h"

#include <errno.h>

static const char *const names[] = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr" };

/* The flag's bit; 0: no such flag. */
static uint8_t flag_of(struct str s)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eq_nocase(s, str_of(names[i])))
			return (uint8_t)(1u << i);
	return 0;
}

int tcp_flags_parse(struct str s, uint8_t *ret_mask, uint8_t *ret_value)
{
	uint8_t mask = 0, value = 0;

	while (true) {
		struct str rest, word = str_cut(s, ',', &rest);
		bool more = word.len < s.len, unset = word.len && word.ptr[0] == '!';
		uint8_t flag = flag_of(unset ? (struct str){ word.ptr + 1, word.len - 1 } : word);

		if (!flag || mask & flag)
			return -EINVAL;
		mask |= flag;
		value |= unset ? 0 : flag;
		if (!more)
			break;
		s = rest;
	}
	*ret_mask = mask;
	*ret_value = value;
	return 0;
}
