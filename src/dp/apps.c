/* SPDX-License-Identifier: Apache-2.0 */
#include "dp/internal.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "telemetry.h"

/*
 * Applications by port. Row: name, protocol, port (0: the protocol alone). Ports of one name share a volume; the names
 * are those of the IANA registry where it has a handy one.
 */
#define TCP 6
#define UDP 17
static const struct {
	const char *name;
	__u8 proto;
	__u16 port;
} rows[] = {
	{ "ftp", TCP, 20 },	  { "ftp", TCP, 21 },	    { "ssh", TCP, 22 },
	{ "telnet", TCP, 23 },	  { "smtp", TCP, 25 },	    { "smtp", TCP, 465 },
	{ "smtp", TCP, 587 },	  { "dns", UDP, 53 },	    { "dns", TCP, 53 },
	{ "dns", TCP, 853 },	  { "dns", UDP, 853 },	    { "dhcp", UDP, 67 },
	{ "dhcp", UDP, 68 },	  { "dhcp", UDP, 546 },	    { "dhcp", UDP, 547 },
	{ "tftp", UDP, 69 },	  { "http", TCP, 80 },	    { "http", TCP, 8080 },
	{ "http", TCP, 8000 },	  { "kerberos", TCP, 88 },  { "kerberos", UDP, 88 },
	{ "pop3", TCP, 110 },	  { "pop3", TCP, 995 },	    { "ntp", UDP, 123 },
	{ "imap", TCP, 143 },	  { "imap", TCP, 993 },	    { "snmp", UDP, 161 },
	{ "snmp", UDP, 162 },	  { "bgp", TCP, 179 },	    { "ldap", TCP, 389 },
	{ "ldap", TCP, 636 },	  { "https", TCP, 443 },    { "https", TCP, 8443 },
	{ "quic", UDP, 443 },	  { "smb", TCP, 445 },	    { "ike", UDP, 500 },
	{ "ike", UDP, 4500 },	  { "syslog", UDP, 514 },   { "syslog", TCP, 6514 },
	{ "openvpn", UDP, 1194 }, { "openvpn", TCP, 1194 }, { "mssql", TCP, 1433 },
	{ "l2tp", UDP, 1701 },	  { "radius", UDP, 1812 },  { "radius", UDP, 1813 },
	{ "mqtt", TCP, 1883 },	  { "mqtt", TCP, 8883 },    { "nfs", TCP, 2049 },
	{ "mysql", TCP, 3306 },	  { "rdp", TCP, 3389 },	    { "rdp", UDP, 3389 },
	{ "proxy", TCP, 3128 },	  { "stun", UDP, 3478 },    { "stun", TCP, 3478 },
	{ "iperf", TCP, 5201 },	  { "iperf", UDP, 5201 },   { "ipfix", UDP, 4739 },
	{ "vxlan", UDP, 4789 },	  { "sip", UDP, 5060 },	    { "sip", TCP, 5060 },
	{ "sip", TCP, 5061 },	  { "mdns", UDP, 5353 },    { "postgresql", TCP, 5432 },
	{ "geneve", UDP, 6081 },  { "redis", TCP, 6379 },   { "wireguard", UDP, 51820 },
	{ "icmp", 1, 0 },	  { "icmp", 58, 0 },	    { "gre", 47, 0 },
	{ "esp", 50, 0 },	  { "sctp", 132, 0 },	    { "other tcp", TCP, 0 },
	{ "other udp", UDP, 0 },
};

/* Index of a name's volume: 1 + how many other names come first. */
static __u32 volume_index(size_t row)
{
	__u32 n = 1;

	for (size_t i = 0; i < row; i++) {
		size_t k = 0;

		if (strcmp(rows[i].name, rows[row].name) == 0)
			return volume_index(i);
		while (strcmp(rows[k].name, rows[i].name) != 0)
			k++;
		n += k == i;
	}
	return n;
}

const char *observe_app_name(uint32_t index)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (volume_index(i) == index)
			return rows[i].name;
	return "other";
}

int observe_apps(int map_fd, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct app_key k = { .port = be16_of(rows[i].port).raw, .proto = rows[i].proto };
		__u32 index = volume_index(i);

		if (bpf_map_update_elem(map_fd, &k, &index, BPF_ANY))
			return err_errno(e, errno, "table of applications");
	}
	return 0;
}
