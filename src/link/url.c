/* SPDX-License-Identifier: Apache-2.0 */
#include "link/url.h"

#include <stdio.h>

#include "base/types.h"

static int bad(struct str text, struct err *e)
{
	return err_set(e, FAULT_BAD_REQUEST, "url",
		       "\"" STR_FMT "\" is not of the form https://host:port", STR_ARG(text));
}

/* Host names: letters, digits, '-', '.', '_'. Anything else does not belong into a request or a TLS name. */
static bool host_is_clean(struct str host)
{
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.ptr[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			  (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
		if (!ok)
			return false;
	}
	return host.len > 0;
}

static bool split_host(struct str text, struct str *host, struct str *port)
{
	if (text.len && text.ptr[0] == '[') {
		struct str inner = { text.ptr + 1, text.len - 1 };
		struct ip_addr a;

		*host = str_cut(inner, ']', port);
		if (host->len == inner.len || ip_parse(*host, &a) < 0 || a.family != IP_V6)
			return false;
		if (port->len == 0)
			return true;
		if (port->ptr[0] != ':' || port->len == 1)
			return false;
		*port = (struct str){ port->ptr + 1, port->len - 1 };
		return true;
	}
	*host = str_cut(text, ':', port);
	return host_is_clean(*host) && (host->len == text.len || port->len > 0);
}

static int parse(struct str text, struct str whole, const char *dflt_port, struct url *ret,
		 struct err *e)
{
	struct url u = { 0 };
	struct str host, port;
	struct ip_addr a;
	uint64_t number;

	if (!split_host(text, &host, &port))
		return bad(whole, e);
	if (port.len == 0)
		port = str_of(dflt_port);
	if (str_to_u64(port, 65535, &number) < 0 || number == 0 ||
	    str_copy(u.host, sizeof(u.host), host) < 0)
		return bad(whole, e);
	snprintf(u.port, sizeof(u.port), "%u", (unsigned)number);
	u.is_ip = ip_parse(host, &a) == 0;
	*ret = u;
	return 0;
}

int url_parse(struct str text, struct url *ret, struct err *e)
{
	struct str scheme = STR("https://"), rest = text;

	if (!str_starts(text, scheme))
		return bad(text, e);
	rest = (struct str){ text.ptr + scheme.len, text.len - scheme.len };
	if (rest.len && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	return parse(rest, text, "443", ret, e);
}

int url_parse_authority(struct str text, struct url *ret, struct err *e)
{
	return parse(text, text, "", ret, e);
}

const char *url_authority(const struct url *u, char buf[static 272])
{
	bool v6 = u->is_ip && str_cut(str_of(u->host), ':', &(struct str){ 0 }).len != strlen(u->host);

	snprintf(buf, 272, v6 ? "[%s]:%s" : "%s:%s", u->host, u->port);
	return buf;
}
