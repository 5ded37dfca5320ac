/* SPDX-License-Identifier: Apache-2.0 */
#include "base/types.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int mac_parse(struct str s, struct mac *ret)
{
	struct mac m;

	if (s.len != MAC_STR_SIZE - 1 || (s.ptr[2] != ':' && s.ptr[2] != '-'))
		return -EINVAL;
	for (size_t i = 0; i < sizeof(m.b); i++) {
		if (i > 0 && s.ptr[3 * i - 1] != s.ptr[2])
			return -EINVAL;
		if (str_from_hex((struct str){ s.ptr + 3 * i, 2 }, &m.b[i], 1) < 0)
			return -EINVAL;
	}
	*ret = m;
	return 0;
}

int uuid_parse(struct str s, struct uuid *ret)
{
	char hex[UUID_HEX_SIZE];
	size_t n = 0;

	if (s.len == UUID_HEX_SIZE - 1)
		return str_from_hex(s, ret->b, sizeof(ret->b));
	if (s.len != UUID_STR_SIZE - 1)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (s.ptr[i] == '-'))
			return -EINVAL;
		if (!dash)
			hex[n++] = s.ptr[i];
	}
	return str_from_hex((struct str){ hex, n }, ret->b, sizeof(ret->b));
}

int ip_parse(struct str s, struct ip_addr *ret)
{
	struct ip_addr a = { 0 };
	char text[IP_STR_SIZE];
	int af;

	/* inet_pton() would stop at a NUL in the middle. */
	if (s.len == 0 || memchr(s.ptr, '\0', s.len) || str_copy(text, sizeof(text), s) < 0)
		return -EINVAL;
	af = memchr(s.ptr, ':', s.len) ? AF_INET6 : AF_INET;
	if (inet_pton(af, text, a.b) != 1)
		return -EINVAL;
	a.family = af == AF_INET6 ? IP_V6 : IP_V4;
	*ret = a;
	return 0;
}

int cidr_parse(struct str s, struct ip_cidr *ret)
{
	struct str len_text, addr_text = str_cut(s, '/', &len_text);
	struct ip_cidr c;
	uint64_t len;

	if (ip_parse(addr_text, &c.addr) < 0)
		return -EINVAL;
	if (len_text.len > 1 && len_text.ptr[0] == '0') /* "024" may be meant as octal */
		return -EINVAL;
	if (str_to_u64(len_text, ip_max_prefix(&c.addr), &len) < 0)
		return -EINVAL;
	c.prefix_len = (uint8_t)len;
	*ret = c;
	return 0;
}

const char *mac_format(struct mac m, char buf[static MAC_STR_SIZE])
{
	snprintf(buf, MAC_STR_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", m.b[0], m.b[1], m.b[2], m.b[3],
		 m.b[4], m.b[5]);
	return buf;
}

const char *uuid_format(struct uuid u, char buf[static UUID_STR_SIZE])
{
	static const uint8_t group_bytes[] = { 4, 2, 2, 2, 6 };
	const uint8_t *in = u.b;
	char *out = buf;

	for (size_t i = 0; i < ARRAY_LEN(group_bytes); i++) {
		if (i > 0)
			*out++ = '-';
		hex_of(in, group_bytes[i], out);
		in += group_bytes[i];
		out += 2 * group_bytes[i];
	}
	return buf;
}

const char *uuid_format_hex(struct uuid u, char buf[static UUID_HEX_SIZE])
{
	hex_of(u.b, sizeof(u.b), buf);
	return buf;
}

/* The first longest run of two or more zero groups; RFC 5952 sections 4.2.2 and 4.2.3. */
static void longest_zero_run(const uint16_t group[static 8], int *ret_at, int *ret_len)
{
	int at = -1, len = 1;

	for (int i = 0; i < 8; i++) {
		int k = i;

		while (k < 8 && group[k] == 0)
			k++;
		if (k - i > len) {
			at = i;
			len = k - i;
		}
		i = k;
	}
	*ret_at = at;
	*ret_len = at >= 0 ? len : 0;
}

static void ip6_format(const uint8_t b[static 16], char buf[static IP_STR_SIZE])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint16_t group[8];
	int zeros_at, n_zeros;
	size_t n = 0;

	if (memcmp(b, mapped, sizeof(mapped)) == 0) { /* RFC 5952 section 5 */
		snprintf(buf, IP_STR_SIZE, "::ffff:%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
		return;
	}
	for (size_t i = 0; i < 8; i++)
		group[i] = (uint16_t)(b[2 * i] << 8 | b[2 * i + 1]);
	longest_zero_run(group, &zeros_at, &n_zeros);
	for (int i = 0; i < 8; i++) {
		if (i == zeros_at) {
			n += (size_t)snprintf(buf + n, IP_STR_SIZE - n, "::");
			i += n_zeros - 1;
			continue;
		}
		n += (size_t)snprintf(buf + n, IP_STR_SIZE - n, "%s%x",
				      i == 0 || i == zeros_at + n_zeros ? "" : ":", group[i]);
	}
}

const char *ip_format(struct ip_addr a, char buf[static IP_STR_SIZE])
{
	if (a.family == IP_V6)
		ip6_format(a.b, buf);
	else if (a.family == IP_V4)
		snprintf(buf, IP_STR_SIZE, "%u.%u.%u.%u", a.b[0], a.b[1], a.b[2], a.b[3]);
	else
		buf[0] = '\0';
	return buf;
}

const char *cidr_format(struct ip_cidr c, char buf[static CIDR_STR_SIZE])
{
	char addr[IP_STR_SIZE];

	snprintf(buf, CIDR_STR_SIZE, "%s/%u", ip_format(c.addr, addr), c.prefix_len);
	return buf;
}

void random_bytes(void *p, size_t size)
{
	uint8_t *out = p;

	while (size) {
		ssize_t n = getrandom(out, MIN_OF(size, (size_t)256), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort(); /* keys and tokens from a weaker source would be worse */
		out += n;
		size -= (size_t)n;
	}
}

struct uuid uuid_random(void)
{
	struct uuid u;

	random_bytes(u.b, sizeof(u.b));
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40); /* RFC 4122 section 4.4 */
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

bool mac_eq(struct mac a, struct mac b)
{
	return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

bool mac_is_multicast(struct mac m)
{
	return m.b[0] & 1;
}

bool mac_is_zero(struct mac m)
{
	return mac_eq(m, (struct mac){ 0 });
}

bool uuid_eq(struct uuid a, struct uuid b)
{
	return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

bool ip_eq(struct ip_addr a, struct ip_addr b)
{
	return ip_cmp(a, b) == 0;
}

int ip_cmp(struct ip_addr a, struct ip_addr b)
{
	if (a.family != b.family)
		return a.family < b.family ? -1 : 1;
	return memcmp(a.b, b.b, ip_max_prefix(&a) / 8);
}

uint8_t ip_max_prefix(const struct ip_addr *a)
{
	return a->family == IP_V6 ? 128 : 32;
}

/* The bits of byte i that belong to a prefix of len bits. */
static uint8_t prefix_byte(unsigned len, unsigned i)
{
	if (len >= 8 * (i + 1))
		return 0xff;
	return len <= 8 * i ? 0 : (uint8_t)(0xff00u >> (len - 8 * i));
}

struct ip_addr cidr_network(struct ip_cidr c)
{
	for (unsigned i = 0; i < sizeof(c.addr.b); i++)
		c.addr.b[i] &= prefix_byte(c.prefix_len, i);
	return c.addr;
}

struct ip_addr cidr_last(struct ip_cidr c)
{
	for (unsigned i = 0; i < ip_max_prefix(&c.addr) / 8u; i++)
		c.addr.b[i] |= (uint8_t)~prefix_byte(c.prefix_len, i);
	return c.addr;
}

bool cidr_contains(struct ip_cidr net, struct ip_addr a)
{
	return net.addr.family == a.family &&
	       ip_eq(cidr_network(net), cidr_network((struct ip_cidr){ a, net.prefix_len }));
}

bool cidr_overlaps(struct ip_cidr a, struct ip_cidr b)
{
	return a.prefix_len <= b.prefix_len ? cidr_contains(a, b.addr) : cidr_contains(b, a.addr);
}

bool ip_add(struct ip_addr *a, uint64_t n)
{
	struct ip_addr sum = *a;
	uint64_t carry = n;

	if (a->family != IP_V4 && a->family != IP_V6)
		return n == 0;
	for (int i = ip_max_prefix(a) / 8 - 1; i >= 0 && carry; i--) {
		uint64_t low = (carry & 0xff) + sum.b[i];

		sum.b[i] = (uint8_t)low;
		carry = (carry >> 8) + (low >> 8);
	}
	if (carry)
		return false;
	*a = sum;
	return true;
}
