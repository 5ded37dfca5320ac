/* SPDX-License-Identifier: Apache-2.0 */
#include "model/endpoint.h"

#include <errno.h>

/* Cuts the port off: what is after the ':' into *port; port->ptr NULL when there is none. False: something else follows. */
static bool cut(struct str s, struct str *host, struct str *port)
{
	struct str rest;
	bool bracket = s.len && s.ptr[0] == '[';

	*port = (struct str){ 0 };
	if (!bracket) {
		*host = str_cut(s, ':', &rest);
		if (host->len < s.len)
			*port = rest;
		return true;
	}
	*host = str_cut((struct str){ s.ptr + 1, s.len - 1 }, ']', &rest);
	if (host->len + 1 == s.len)
		return false; /* not closed */
	if (rest.len && rest.ptr[0] != ':')
		return false;
	if (rest.len)
		*port = (struct str){ rest.ptr + 1, rest.len - 1 };
	return true;
}

int endpoint_parse(struct str s, uint16_t dflt_port, struct endpoint *ret)
{
	bool bracket = s.len && s.ptr[0] == '[';
	struct endpoint e = { .port = dflt_port };
	struct str host, port;
	uint64_t num = dflt_port;

	if (!cut(s, &host, &port) || ip_parse(host, &e.ip) < 0 || (e.ip.family == IP_V6) != bracket)
		return -EINVAL;
	if (port.ptr && (str_to_u64(port, 65535, &num) < 0 || !num))
		return -EINVAL;
	e.port = (uint16_t)num;
	*ret = e;
	return 0;
}
