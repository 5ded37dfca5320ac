/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_CONFIG_H
#define DEMARC_NODE_CONFIG_H

/* Configuration of demarc-node: a YAML file, then flags that override it. */

#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "dp/dp.h"

#define CONFIG_NICS_MAX 16
#define CONFIG_NIC_NAME_SIZE 32
#define CONFIG_ENROL_FILE                                                                          \
	"enrol" /* in state_dir; the unit of systemd waits for it, or for a node that is enrolled */

struct config_nic {
	char name[CONFIG_NIC_NAME_SIZE]; /* logical: "lan", "wan" */
	char device[IF_NAMESIZE];
	enum dp_hook hook;
};

struct config {
	char state_dir[256];  /* survives reboots */
	char run_dir[256];    /* need not */
	char pin_dir[256];    /* ""; the default has the node's id in it */
	char runtime[256];    /* OCI runtime command */
	char hub[512];	      /* URL; "": what enrolment stored */
	char proxy[256];      /* "host:port" */
	char user[64];	      /* of the unprivileged child */
	char ipfix[256];      /* collectors: "192.0.2.1:4739,[2001:db8::1]" */
	char ipfix_active[8]; /* seconds; "": default */
	char shell[8];	      /* "yes": the hub's administrators may have one on the node */
	char enrol_file[256]; /* zero-touch file; "": CONFIG_ENROL_FILE in state_dir, if it is there */
	char max_flows[12];   /* records of the flow table when it is made; "": default */
	char max_bindings[8]; /* addresses that the hosts behind one port may have; "": default */
	char peer_copy[48]; /* address at which other nodes of the site take images from here; "no": they do not */
	char peer_copy_rate[8]; /* MB/s, for each of them; "": default */
	struct dp_ct conntrack;
	size_t n_nics;
	struct config_nic nics[CONFIG_NICS_MAX];
};

void config_default(struct config *c);
/* Reads a YAML mapping with the keys state_dir, run_dir, pin_dir, runtime, hub, proxy, user, ipfix, ipfix_active, enrol_file, max_flows, max_bindings, shell, peer_copy, peer_copy_rate,
 * nics: {lan: "eth1,tc"}, conntrack: {tcp_liberal: yes, tcp_strict: yes, ESTABLISHED: 3600}: idle seconds by state. Every
 * unknown key and wrong type is an error with its line. */
WARN_UNUSED int config_load(const char *path, struct config *c, struct err *e);
/* One "name=device" or "name=device,hook" as of --nic; hook: auto, tc or xdp. */
WARN_UNUSED int config_nic_add(struct config *c, const char *text, struct err *e);
/* One scalar key. */
WARN_UNUSED int config_set(struct config *c, const char *key, const char *value, struct err *e);
/* Some NIC is to have XDP whatever it is: functions take XDP frames then. */
bool config_wants_xdp(const struct config *c);
const char *config_nic_device(const struct config *c, const char *name); /* NULL: none */

#endif
