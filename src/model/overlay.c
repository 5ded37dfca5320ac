/* SPDX-License-Identifier: Apache-2.0 */
#include "model/overlay.h"

#include <string.h>

#define ETHERNET_SIZE 14
#define IPV4_SIZE 20
#define NSH_CONTEXT_SIZE 16 /* RFC 8300 2.4: metadata of type 1 */

static const struct overlay_type types[] = {
#define X(id, name, min, max, size, flags) { OVERLAY_##id, name, min, max, size, flags },
	OVERLAY_TABLE(X)
#undef X
};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

const struct overlay_type *overlay_type_find(const char *name)
{
	for (size_t i = 0; name && i < N_TYPES; i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

int overlay_overhead(const struct overlay_type *t, unsigned nsh_context)
{
	int size = ETHERNET_SIZE + (int)t->size;

	if (!(t->flags & OVERLAY_ON_LINK))
		size += IPV4_SIZE;
	if (t->flags & OVERLAY_NSH)
		size += (int)nsh_context - NSH_CONTEXT_SIZE;
	return size;
}

bool overlay_is_vtep(const struct ip_addr *a)
{
	if (a->family == IP_V4)
		return a->b[0] != 0 && a->b[0] != 127 && a->b[0] < 224; /* RFC 1122 3.2.1.3, RFC 5771 */
	return a->b[0] != 0 && a->b[0] != 0xff &&
	       !(a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80); /* RFC 4291 2.4 */
}
