/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_TYPES_H
#define DEMARC_BASE_TYPES_H

/* Typed units: kind and byte order live in the type. One-member structs, passed by value. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* One-member types read best as a table. */
/* clang-format off */
typedef struct { uint16_t raw; } be16; /* network byte order */
typedef struct { uint32_t raw; } be32; /* network byte order */
typedef struct { uint16_t num; } ethertype; /* host order, e.g. 0x0800 */
typedef struct { uint8_t num; } l4_proto;   /* IANA protocol number */
typedef struct { int num; } ifindex;	    /* > 0 when valid */
typedef struct { uint16_t id; } vlan_id;    /* 0: untagged, 1..4094 */

static inline be16 be16_of(uint16_t host) { return (be16){ __builtin_bswap16(host) }; }
static inline uint16_t be16_host(be16 v) { return __builtin_bswap16(v.raw); }
static inline be32 be32_of(uint32_t host) { return (be32){ __builtin_bswap32(host) }; }
static inline uint32_t be32_host(be32 v) { return __builtin_bswap32(v.raw); }

struct mac { uint8_t b[6]; };
struct uuid { uint8_t b[16]; };
/* clang-format on */

enum ip_family { IP_V4 = 4, IP_V6 = 6 };
/* An address; IPv4 in b[0..3], the rest zero. Network byte order. */
struct ip_addr {
	uint8_t family; /* enum ip_family; 0: none */
	uint8_t b[16];
};
struct ip_cidr {
	struct ip_addr addr;
	uint8_t prefix_len; /* bits: 0..32 or 0..128 */
};

#define MAC_STR_SIZE 18	 /* "02:00:00:00:00:01" and NUL */
#define UUID_STR_SIZE 37 /* 8-4-4-4-12 and NUL */
#define UUID_HEX_SIZE 33 /* 32 hex digits and NUL: project, user, domain ids */
#define IP_STR_SIZE 46
#define CIDR_STR_SIZE 50

/* Parsers take the whole view or fail with -EINVAL; nothing is written on failure. */
WARN_UNUSED int mac_parse(struct str s, struct mac *ret);    /* six ':' or '-' separated octets */
WARN_UNUSED int uuid_parse(struct str s, struct uuid *ret);  /* RFC 4122 text, or 32 hex digits */
WARN_UNUSED int ip_parse(struct str s, struct ip_addr *ret); /* RFC 4291 / dotted quad; no zone id */
WARN_UNUSED int cidr_parse(struct str s, struct ip_cidr *ret); /* "addr/len"; host bits are kept */

const char *mac_format(struct mac m, char buf[static MAC_STR_SIZE]);
const char *uuid_format(struct uuid u, char buf[static UUID_STR_SIZE]); /* dashed */
const char *uuid_format_hex(struct uuid u, char buf[static UUID_HEX_SIZE]);
const char *ip_format(struct ip_addr a, char buf[static IP_STR_SIZE]); /* RFC 5952 */
const char *cidr_format(struct ip_cidr c, char buf[static CIDR_STR_SIZE]);

struct uuid uuid_random(void);		 /* version 4; getrandom(2) */
void random_bytes(void *p, size_t size); /* getrandom(2); aborts when the kernel has none */
bool mac_eq(struct mac a, struct mac b);
bool mac_is_multicast(struct mac m);
bool mac_is_zero(struct mac m);
bool uuid_eq(struct uuid a, struct uuid b);
bool ip_eq(struct ip_addr a, struct ip_addr b);
int ip_cmp(struct ip_addr a, struct ip_addr b); /* family first, then numeric */
uint8_t ip_max_prefix(const struct ip_addr *a); /* 32 or 128 */
bool cidr_contains(struct ip_cidr net, struct ip_addr a);
bool cidr_overlaps(struct ip_cidr a, struct ip_cidr b);
struct ip_addr cidr_network(struct ip_cidr c); /* host bits zero */
struct ip_addr cidr_last(struct ip_cidr c);    /* host bits one */
bool ip_add(struct ip_addr *a, uint64_t n);    /* numeric add; false on overflow, *a unchanged */

#endif
