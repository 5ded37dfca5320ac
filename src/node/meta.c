/* SPDX-License-Identifier: Apache-2.0 */
#include "node/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/types.h"

void meta_done(struct meta_docs *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->doc[i].content);
	d->n = 0;
}

static int add(struct meta_docs *d, const char *path, const void *content, size_t size)
{
	struct meta_doc *m = &d->doc[d->n];

	if (d->n == META_DOCS_MAX)
		return -ENOSPC;
	m->content = malloc(size + 1);
	if (!m->content)
		return -ENOMEM;
	memcpy(m->content, content, size);
	m->content[size] = '\0';
	m->size = size;
	(void)str_copy(m->path, sizeof(m->path), str_of(path));
	d->n++;
	return 0;
}

static int add_text(struct meta_docs *d, const char *path, const char *text)
{
	return text && *text ? add(d, path, text, strlen(text)) : 0;
}

/* Takes j over. */
static int add_json(struct meta_docs *d, const char *path, json_t *j)
{
	CLEANUP(json_freep) json_t *owned = j;
	CLEANUP(free_charp) char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

	return text ? add(d, path, text, strlen(text)) : -ENOMEM;
}

/* ---- OpenStack ---- */

static json_t *metadata_of(const Demarc__V1__Server *s)
{
	json_t *m = json_object();

	for (size_t i = 0; i < s->n_metadata; i++)
		(void)json_object_set_new(m, s->metadata[i]->key, json_string(s->metadata[i]->value));
	return m;
}

static json_t *devices_of(const struct meta_nic *nics, size_t n)
{
	json_t *l = json_array();

	for (size_t i = 0; i < n; i++) {
		char name[16];

		if (!nics[i].id || !nics[i].tag || !*nics[i].tag)
			continue;
		(void)snprintf(name, sizeof(name), "eth%u", (unsigned)i);
		(void)json_array_append_new(l, json_pack("{s:s, s:s, s:s, s:s, s:[s]}", "type",
							 "nic", "bus", "none", "address", name, "mac",
							 nics[i].port->mac, "tags", nics[i].tag));
	}
	return l;
}

static json_t *meta_data_of(const char *id, const Demarc__V1__Server *s,
			    const struct meta_nic *nics, size_t n)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "uuid", id, "name",
			      s->name, "hostname", s->hostname, "project_id", s->project_id,
			      "availability_zone", s->availability_zone, "launch_index", 0, "meta",
			      metadata_of(s), "devices", devices_of(nics, n));

	if (j && *s->public_key) {
		(void)json_object_set_new(j, "public_keys",
					  json_pack("{s:s}", s->key_name, s->public_key));
		(void)json_object_set_new(j, "keys",
					  json_pack("[{s:s, s:s, s:s}]", "name", s->key_name,
						    "type", "ssh", "data", s->public_key));
	}
	return j;
}

static const Demarc__V1__Subnet *subnet_of(const Demarc__V1__Network *n, const char *id)
{
	for (size_t i = 0; n && i < n->n_subnets; i++)
		if (strcmp(n->subnets[i]->id, id) == 0)
			return n->subnets[i];
	return NULL;
}

static void netmask_of(struct ip_addr a, unsigned prefix, char ret[static IP_STR_SIZE])
{
	struct ip_cidr c = { .addr = a, .prefix_len = (uint8_t)prefix };

	memset(c.addr.b, 0, sizeof(c.addr.b));
	c.addr = cidr_last((struct ip_cidr){ c.addr, 0 }); /* all ones */
	c.prefix_len = (uint8_t)prefix;
	(void)ip_format(cidr_network(c), ret);
}

static json_t *routes_of(const Demarc__V1__Subnet *sub, bool v6)
{
	json_t *l = json_array();

	if (sub && *sub->gateway_ip)
		(void)json_array_append_new(
			l, json_pack("{s:s, s:s, s:s}", "network", v6 ? "::" : "0.0.0.0", "netmask",
				     v6 ? "::" : "0.0.0.0", "gateway", sub->gateway_ip));
	for (size_t i = 0; sub && i < sub->n_host_routes; i++) {
		struct ip_cidr c;
		char network[IP_STR_SIZE], mask[IP_STR_SIZE];

		if (cidr_parse(str_of(sub->host_routes[i]->destination), &c) < 0)
			continue;
		netmask_of(c.addr, c.prefix_len, mask);
		(void)json_array_append_new(
			l, json_pack("{s:s, s:s, s:s}", "network", ip_format(cidr_network(c), network),
				     "netmask", mask, "gateway", sub->host_routes[i]->nexthop));
	}
	return l;
}

static void add_networks(json_t *networks, json_t *services, const struct meta_nic *nic, const char *link)
{
	for (size_t i = 0; i < nic->port->n_fixed_ips; i++) {
		const Demarc__V1__FixedIp *f = nic->port->fixed_ips[i];
		const Demarc__V1__Subnet *sub = subnet_of(nic->network, f->subnet_id);
		char id[24], mask[IP_STR_SIZE];
		struct ip_addr a;

		if (ip_parse(str_of(f->ip), &a) < 0)
			continue;
		netmask_of(a, f->prefix_len, mask);
		(void)snprintf(id, sizeof(id), "network%zu", json_array_size(networks));
		(void)json_array_append_new(networks,
					    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "id",
						      id, "type", a.family == IP_V6 ? "ipv6" : "ipv4",
						      "link", link, "ip_address", f->ip, "netmask",
						      mask, "network_id", nic->port->network_id,
						      "routes", routes_of(sub, a.family == IP_V6)));
		for (size_t k = 0; sub && k < sub->n_dns; k++)
			(void)json_array_append_new(services, json_pack("{s:s, s:s}", "type", "dns",
									"address", sub->dns[k]));
	}
}

static json_t *network_data_of(const struct meta_nic *nics, size_t n)
{
	json_t *links = json_array(), *networks = json_array(), *services = json_array();

	for (size_t i = 0; i < n; i++) {
		char name[16];
		unsigned mtu = nics[i].network && nics[i].network->mtu ? nics[i].network->mtu : 1500;

		if (!nics[i].id)
			continue;
		(void)snprintf(name, sizeof(name), "eth%u", (unsigned)i);
		(void)json_array_append_new(
			links, json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "id", name, "name", name,
					 "type", "phy", "mtu", (int)mtu, "ethernet_mac_address",
					 nics[i].port->mac, "vif_id", nics[i].id));
		add_networks(networks, services, &nics[i], name);
	}
	return json_pack("{s:o, s:o, s:o}", "links", links, "networks", networks, "services", services);
}

/* ---- EC2 ---- */

static const char *first_ipv4(const struct meta_nic *nics, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; nics[i].id && k < nics[i].port->n_fixed_ips; k++)
			if (!strchr(nics[i].port->fixed_ips[k]->ip, ':'))
				return nics[i].port->fixed_ips[k]->ip;
	return "";
}

static int add_ec2(struct meta_docs *d, const char *id, const Demarc__V1__Server *s,
		   const struct meta_nic *nics, size_t n)
{
	const struct {
		const char *name, *value;
	} rows[] = {
		{ "instance-id", id },
		{ "ami-id", s->image ? s->image->id : "" },
		{ "hostname", s->hostname },
		{ "local-hostname", s->hostname },
		{ "local-ipv4", first_ipv4(nics, n) },
		{ "mac", n && nics[0].id ? nics[0].port->mac : "" },
		{ "instance-type", s->flavor_name },
		{ "placement/availability-zone", s->availability_zone },
		{ "public-keys/0/openssh-key", s->public_key },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(rows); i++) {
		char path[96];

		(void)snprintf(path, sizeof(path), "ec2/latest/meta-data/%s", rows[i].name);
		r = add_text(d, path, rows[i].value);
	}
	if (r == 0 && s->user_data.len)
		r = add(d, "ec2/latest/user-data", s->user_data.data, s->user_data.len);
	return r;
}

int meta_build(const char *server_id, const Demarc__V1__Server *s, const struct meta_nic *nics,
	       size_t n_nics, struct meta_docs *ret, struct err *e)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = add_json(ret, "openstack/latest/meta_data.json", meta_data_of(server_id, s, nics, n_nics));
	if (r == 0)
		r = add_json(ret, "openstack/latest/network_data.json", network_data_of(nics, n_nics));
	if (r == 0)
		r = add_text(ret, "openstack/latest/vendor_data.json", "{}");
	if (r == 0)
		r = add_text(ret, "openstack/latest/vendor_data2.json", "{}");
	if (r == 0 && s->user_data.len)
		r = add(ret, "openstack/latest/user_data", s->user_data.data, s->user_data.len);
	if (r == 0)
		r = add_ec2(ret, server_id, s, nics, n_nics);
	if (r < 0) {
		meta_done(ret);
		return err_errno(e, r, "metadata of server %s", server_id);
	}
	return 0;
}

/* ---- the tree as a service shows it ---- */

/* "/openstack/2018-08-27/x" and "/2009-04-04/meta-data/x" are "openstack/latest/x" and "ec2/latest/meta-data/x". */
static void canonical(const char *path, char *ret, size_t size)
{
	struct str rest = str_of(path), part;
	const char *tree = "ec2";

	while (rest.len > 0 && rest.ptr[0] == '/')
		rest = (struct str){ rest.ptr + 1, rest.len - 1 };
	part = str_cut(rest, '/', &rest);
	if (str_eq(part, STR("openstack"))) {
		tree = "openstack";
		part = str_cut(rest, '/', &rest);
	}
	while (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	if (part.len == 0)
		(void)snprintf(ret, size, "%s", tree);
	else if (str_eq(part, STR("latest")) ||
		 (part.len == 10 && part.ptr[4] == '-' && part.ptr[7] == '-'))
		(void)snprintf(ret, size, "%s/latest%s" STR_FMT, tree, rest.len ? "/" : "",
			       STR_ARG(rest));
	else
		ret[0] = '\0';
}

/* Names directly below a directory; directories end in '/'. Documents stand in tree order, so equal names follow. */
static bool list_dir(const struct meta_docs *d, const char *dir, struct strbuf *out)
{
	size_t n = strlen(dir);
	struct str last = { NULL, 0 };

	for (size_t i = 0; i < d->n; i++) {
		const char *p = d->doc[i].path;
		struct str name, rest;

		if (strncmp(p, dir, n) != 0 || p[n] != '/')
			continue;
		name = str_cut(str_of(p + n + 1), '/', &rest);
		if (last.ptr && str_eq(name, last))
			continue;
		if (last.ptr)
			strbuf_addc(out, '\n');
		strbuf_add(out, name.ptr, name.len);
		if (rest.len)
			strbuf_addc(out, '/');
		last = name;
	}
	return last.ptr != NULL;
}

int meta_lookup(const struct meta_docs *d, const char *path, struct strbuf *out, const char **ret_type)
{
	char at[640];

	*ret_type = "text/plain; charset=utf-8";
	if (strcmp(path, "/") == 0) {
		strbuf_adds(out, "2009-04-04\nlatest\nopenstack");
		return 200;
	}
	canonical(path, at, sizeof(at));
	if (strcmp(at, "openstack") == 0) {
		strbuf_adds(out, META_OPENSTACK_VERSION "\nlatest");
		return 200;
	}
	for (size_t i = 0; i < d->n; i++) {
		if (strcmp(d->doc[i].path, at) != 0)
			continue;
		if (str_ends(str_of(at), STR(".json")))
			*ret_type = "application/json";
		else if (strstr(at, "user"))
			*ret_type = "application/octet-stream";
		strbuf_add(out, d->doc[i].content, d->doc[i].size);
		return 200;
	}
	if (*at && list_dir(d, at, out))
		return 200;
	strbuf_adds(out, "404 Not Found\n");
	return 404;
}

/* ---- config drive ---- */

static int write_doc(const char *path, const struct meta_doc *m, struct err *e)
{
	CLEANUP(close_fdp)
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0444);

	/* The mode whatever the umask: the function may run as any user. */
	if (fd < 0 || fchmod(fd, 0444) < 0 || write(fd, m->content, m->size) != (ssize_t)m->size)
		return err_errno(e, errno, "%s", path);
	return 0;
}

static int write_tree(const struct meta_docs *d, const char *dir, const char *version, struct err *e)
{
	for (size_t i = 0; i < d->n; i++) {
		char path[PATH_MAX], *slash;
		struct str rest, tree = str_cut(str_of(d->doc[i].path), '/', &rest);
		int r;

		(void)str_cut(rest, '/', &rest); /* "latest" */
		if (snprintf(path, sizeof(path), "%s/" STR_FMT "/%s/" STR_FMT, dir, STR_ARG(tree),
			     version, STR_ARG(rest)) >= (int)sizeof(path))
			return err_set(e, FAULT_INTERNAL, NULL, "path of the config drive is too long");
		slash = strrchr(path, '/');
		*slash = '\0';
		r = dir_make(path, 0755, e);
		*slash = '/';
		if (r == 0)
			r = write_doc(path, &d->doc[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

int meta_write_drive(const struct meta_docs *d, const char *dir, struct err *e)
{
	int r = tree_remove(dir, e);

	if (r == 0)
		r = dir_make(dir, 0755, e);
	if (r == 0)
		r = write_tree(d, dir, "latest", e);
	return r < 0 ? r : write_tree(d, dir, META_OPENSTACK_VERSION, e);
}
