/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/server.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/compute/input.h"

void server_of_row(struct db_rows *q, struct server *ret)
{
	const char **const text[] = {
		&ret->id,	   &ret->name,	   &ret->hostname,  &ret->project_id,
		&ret->user_id,	   &ret->image_id, &ret->flavor,    &ret->key_name,
		&ret->metadata,	   &ret->tags,	   &ret->user_data, &ret->availability_zone,
		&ret->description, &ret->node_id,  &ret->power,	    &ret->vm_state,
		&ret->task_state,  &ret->fault,	   &ret->node_name, &ret->site_name,
	};
	int col = 0;

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		*text[i] = db_text(q, col++);
	ret->config_drive = db_int(q, col++);
	ret->reboot_generation = db_int(q, col++);
	ret->power_state = db_int(q, col++);
	ret->created_us = db_int(q, col++);
	ret->updated_us = db_int(q, col++);
	ret->launched_us = db_int(q, col++);
}

static void server_to_arena(struct arena *a, struct server *s)
{
	const char **const text[] = {
		&s->id,		 &s->name,     &s->hostname,  &s->project_id,
		&s->user_id,	 &s->image_id, &s->flavor,    &s->key_name,
		&s->metadata,	 &s->tags,     &s->user_data, &s->availability_zone,
		&s->description, &s->node_id,  &s->power,     &s->vm_state,
		&s->task_state,	 &s->fault,    &s->node_name, &s->site_name,
	};

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		*text[i] = arena_strdup(a, *text[i]);
}

int server_need_id(struct req *r, const char *id, struct server *ret, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc;

	rc = db_query(r->db, &q, e, SERVER_SELECT "WHERE s.id = ?", "s", id);
	if (rc < 0)
		return rc;
	rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 1)
		server_of_row(q, ret);
	if (rc == 0 || (!r->auth.is_admin &&
			(!r->auth.project_id || strcmp(ret->project_id, r->auth.project_id) != 0)))
		return err_set(e, FAULT_NOT_FOUND, "server_id",
			       "Instance %.64s could not be found.", id);
	server_to_arena(r->arena, ret);
	if (arena_failed(r->arena))
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	return 0;
}

int server_need(struct req *r, struct server *ret, struct err *e)
{
	return server_need_id(r, req_param(r, "id"), ret, e);
}

/* Source: nova/api/openstack/common.py, _STATE_MAP. */
const char *server_status(const struct server *s)
{
	static const struct {
		const char *vm_state, *task_state, *status;
	} rows[] = {
		{ "active", "rebooting", "REBOOT" },
		{ "active", "rebooting_hard", "HARD_REBOOT" },
		{ "active", NULL, "ACTIVE" },
		{ "building", NULL, "BUILD" },
		{ "stopped", "rebooting_hard", "HARD_REBOOT" },
		{ "stopped", NULL, "SHUTOFF" },
		{ "error", "rebooting_hard", "HARD_REBOOT" },
		{ "error", NULL, "ERROR" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].vm_state, s->vm_state) != 0)
			continue;
		if (!rows[i].task_state ||
		    (s->task_state && strcmp(rows[i].task_state, s->task_state) == 0))
			return rows[i].status;
	}
	return "UNKNOWN";
}

json_t *server_links(struct req *r, const char *collection, const char *id)
{
	const char *base = req_base_url(r);
	char self[512], bookmark[512];

	snprintf(self, sizeof(self), "%s/compute/v2.1/%s/%s", base, collection, id);
	snprintf(bookmark, sizeof(bookmark), "%s/compute/%s/%s", base, collection, id);
	return json_pack("[{s:s, s:s}, {s:s, s:s}]", "rel", "self", "href", self, "rel", "bookmark",
			 "href", bookmark);
}

json_t *server_brief(struct req *r, const struct server *s)
{
	json_t *v = json_object();

	put_str(v, "id", s->id);
	put_str(v, "name", s->name);
	json_object_set_new(v, "links", server_links(r, "servers", s->id));
	return v;
}

/* One list per network name, addresses in the order of the vNICs. */
int server_addresses(struct req *r, const char *server_id, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *all = json_object();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc;

	rc = db_query(r->db, &q, e,
		      "SELECT w.name, i.ip, p.mac_address FROM server_vif v "
		      "JOIN port p ON p.id = v.port_id JOIN network w ON w.id = p.network_id "
		      "JOIN port_ip i ON i.port_id = p.id WHERE v.server_id = ? "
		      "ORDER BY v.idx, i.ord, i.ip",
		      "s", server_id);
	if (rc < 0)
		return rc;
	while ((rc = db_step(q, e)) == 1) {
		const char *net = db_text(q, 0), *ip = db_text(q, 1);
		json_t *list = json_object_get(all, net);

		if (!list) {
			list = json_array();
			json_object_set_new(all, net, list);
		}
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s}", "addr", ip, "version",
						      strchr(ip, ':') ? 6 : 4, "OS-EXT-IPS:type", "fixed",
						      "OS-EXT-IPS-MAC:mac_addr", db_text(q, 2)));
	}
	if (rc < 0)
		return rc;
	*ret = MOVE_PTR(all);
	return 0;
}

static int put_security_groups(struct req *r, const struct server *s, json_t *v, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc;

	rc = db_query(r->db, &q, e,
		      "SELECT DISTINCT g.name FROM server_vif v "
		      "JOIN port_security_group pg ON pg.port_id = v.port_id "
		      "JOIN security_group g ON g.id = pg.security_group_id "
		      "WHERE v.server_id = ? ORDER BY g.name",
		      "s", s->id);
	if (rc < 0)
		return rc;
	while ((rc = db_step(q, e)) == 1)
		json_array_append_new(list, json_pack("{s:s}", "name", db_text(q, 0)));
	if (rc < 0)
		return rc;
	if (json_array_size(list) > 0)
		json_object_set(v, "security_groups", list);
	return 0;
}

/* Nova: sha224 of project and host, so that tenants can tell hosts apart without knowing them. */
static void put_host_id(json_t *v, const struct server *s)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	char text[512], hex[2 * EVP_MAX_MD_SIZE + 1] = "";
	unsigned n = 0;

	if (s->node_id) {
		snprintf(text, sizeof(text), "%s%s", s->project_id, s->node_name);
		if (EVP_Digest(text, strlen(text), md, &n, EVP_sha224(), NULL) == 1)
			hex_of(md, n, hex);
	}
	put_str(v, "hostId", hex);
}

static json_t *json_of_text(const char *text)
{
	json_t *j = NULL;

	if (!text || json_parse(str_of(text), &j, NULL) < 0)
		return json_object();
	return j;
}

/* Before 2.47 a reference, from then on the flavor as it was at create. */
static void put_flavor(struct req *r, json_t *v, const struct server *s)
{
	json_t *f = json_of_text(s->flavor);

	if (r->micro < 47) {
		const char *id = json_str(f, "id");
		json_t *ref = json_object();

		put_str(ref, "id", id ? id : "");
		json_object_set_new(ref, "links", server_links(r, "flavors", id ? id : ""));
		json_decref(f);
		f = ref;
	} else {
		json_object_del(f, "id");
	}
	json_object_set_new(v, "flavor", f);
}

static void put_image(struct req *r, json_t *v, const struct server *s)
{
	char href[512];

	snprintf(href, sizeof(href), "%s/compute/images/%s", req_base_url(r), s->image_id);
	json_object_set_new(v, "image",
			    json_pack("{s:s, s:[{s:s, s:s}]}", "id", s->image_id, "links", "rel",
				      "bookmark", "href", href));
}

static void put_fault(struct req *r, json_t *v, const struct server *s)
{
	CLEANUP(json_freep) json_t *f = NULL;
	json_t *shown;

	if (!s->fault || strcmp(s->vm_state, "error") != 0)
		return;
	f = json_of_text(s->fault);
	shown = json_object();
	put_int(shown, "code", json_int(f, "code", 500));
	put_time(shown, "created", json_int(f, "created", s->updated_us));
	put_str(shown, "message", json_str(f, "message"));
	if (r->auth.is_admin)
		put_str(shown, "details", json_str(f, "message"));
	json_object_set_new(v, "fault", shown);
}

static void put_admin(struct req *r, json_t *v, const struct server *s)
{
	char name[64];

	snprintf(name, sizeof(name), "instance-%.8s", s->id);
	put_str(v, "OS-EXT-SRV-ATTR:host", s->node_name);
	put_str(v, "OS-EXT-SRV-ATTR:hypervisor_hostname", s->node_name);
	put_str(v, "OS-EXT-SRV-ATTR:instance_name", name);
	if (r->micro >= 3) {
		snprintf(name, sizeof(name), "r-%.8s", s->id);
		put_str(v, "OS-EXT-SRV-ATTR:reservation_id", name);
		put_int(v, "OS-EXT-SRV-ATTR:launch_index", 0);
		put_str(v, "OS-EXT-SRV-ATTR:hostname", s->hostname);
		put_str(v, "OS-EXT-SRV-ATTR:kernel_id", "");
		put_str(v, "OS-EXT-SRV-ATTR:ramdisk_id", "");
		put_str(v, "OS-EXT-SRV-ATTR:root_device_name", NULL);
		put_str(v, "OS-EXT-SRV-ATTR:user_data", s->user_data);
	}
	if (r->micro >= 16)
		put_str(v, "host_status", s->node_id ? "UP" : "");
}

/* What later microversions added; source: nova REST API version history. */
static void put_since(struct req *r, json_t *v, const struct server *s)
{
	if (r->micro >= 9)
		put_bool(v, "locked", false);
	if (r->micro >= 19)
		put_str(v, "description", s->description);
	if (r->micro >= 26)
		json_object_set_new(v, "tags", json_of_text(s->tags));
	if (r->micro >= 63)
		put_str(v, "trusted_image_certificates", NULL);
	if (r->micro >= 71)
		json_object_set_new(v, "server_groups", json_array());
	if (r->micro >= 73)
		put_str(v, "locked_reason", NULL);
	if (r->micro >= 90)
		put_str(v, "OS-EXT-SRV-ATTR:hostname", s->hostname);
}

static void put_state(json_t *v, const struct server *s)
{
	const char *status = server_status(s);

	put_str(v, "status", status);
	put_str(v, "OS-EXT-STS:vm_state", s->vm_state);
	put_str(v, "OS-EXT-STS:task_state", s->task_state);
	put_int(v, "OS-EXT-STS:power_state", s->power_state);
	if (strcmp(status, "ACTIVE") == 0 || strcmp(status, "BUILD") == 0)
		put_int(v, "progress", 0);
	put_time(v, "created", s->created_us);
	put_time(v, "updated", s->updated_us);
	put_time(v, "OS-SRV-USG:launched_at", s->launched_us);
	put_str(v, "OS-SRV-USG:terminated_at", NULL);
}

/* The site it runs at; before that, the site that was asked for ("site" of "site:node"). */
static void put_zone(json_t *v, const struct server *s)
{
	struct str rest, zone = str_cut(str_of(s->availability_zone), ':', &rest);

	json_object_set_new(v, "OS-EXT-AZ:availability_zone",
			    s->site_name ? json_string(s->site_name) : json_stringn(zone.ptr, zone.len));
}

int server_view(struct req *r, const struct server *s, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *v = server_brief(r, s);
	json_t *addresses;
	int rc;

	put_str(v, "tenant_id", s->project_id);
	put_str(v, "user_id", s->user_id);
	put_host_id(v, s);
	put_state(v, s);
	put_image(r, v, s);
	put_flavor(r, v, s);
	json_object_set_new(v, "metadata", json_of_text(s->metadata));
	rc = server_addresses(r, s->id, &addresses, e);
	if (rc < 0)
		return rc;
	json_object_set_new(v, "addresses", addresses);
	put_str(v, "accessIPv4", "");
	put_str(v, "accessIPv6", "");
	put_str(v, "OS-DCF:diskConfig", "MANUAL");
	put_zone(v, s);
	put_str(v, "config_drive", s->config_drive ? "True" : "");
	put_str(v, "key_name", s->key_name);
	json_object_set_new(v, "os-extended-volumes:volumes_attached", json_array());
	rc = put_security_groups(r, s, v, e);
	if (rc < 0)
		return rc;
	put_fault(r, v, s);
	if (r->auth.is_admin)
		put_admin(r, v, s);
	put_since(r, v, s);
	*ret = MOVE_PTR(v);
	return 0;
}

int server_show(struct req *r, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	const char *id = req_param(r, "id");
	struct server s;
	json_t *view;
	int rc;

	rc = db_query(r->db, &q, e, SERVER_SELECT "WHERE s.id = ?", "s", id);
	if (rc == 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 1)
		server_of_row(q, &s);
	if (rc == 0 || (!r->auth.is_admin &&
			strcmp(s.project_id, r->auth.project_id ? r->auth.project_id : "") != 0))
		return err_set(e, FAULT_NOT_FOUND, "server_id",
			       "Instance %.64s could not be found.", id);
	rc = server_view(r, &s, &view, e);
	if (rc < 0)
		return rc;
	req_reply(r, json_pack("{s:o}", "server", view));
	return 0;
}

int server_touch(struct req *r, const struct server *s, struct err *e)
{
	int rc = db_exec(r->db, e, "UPDATE server SET updated_us = ? WHERE id = ?", "is",
			 clock_wall_us(), s->id);

	if (rc < 0)
		return rc;
	if (s->node_id)
		req_touch_node(r, s->node_id);
	return 0;
}

int server_state_conflict(const struct server *s, const char *what, struct err *e)
{
	return err_set(e, FAULT_IN_USE, NULL, "Cannot '%s' instance %s while it is in vm_state %s",
		       what, s->id, s->vm_state);
}

/* ---- the same, in parts ---- */

int server_ips(struct req *r, struct err *e)
{
	struct server s;
	json_t *addresses;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = server_addresses(r, s.id, &addresses, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "addresses", addresses));
	return rc;
}

int server_ips_of_network(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *addresses = NULL;
	const char *network = req_param(r, "network");
	struct server s;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = server_addresses(r, s.id, &addresses, e);
	if (rc < 0)
		return rc;
	if (!json_object_get(addresses, network))
		return err_set(e, FAULT_NOT_FOUND, NULL, "Network %.64s not found on instance %s.",
			       network, s.id);
	req_reply(r, json_pack("{s:O}", network, json_object_get(addresses, network)));
	return 0;
}

int server_groups_of_server(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *list = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct server s;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      "SELECT DISTINCT g.id, g.name, g.description, g.project_id "
			      "FROM server_vif v JOIN port_security_group pg ON pg.port_id = v.port_id "
			      "JOIN security_group g ON g.id = pg.security_group_id "
			      "WHERE v.server_id = ? ORDER BY g.name",
			      "s", s.id);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s, s:[]}", "id", db_text(q, 0),
						"name", db_text(q, 1), "description", db_text(q, 2),
						"tenant_id", db_text(q, 3), "rules"));
		rc = 0;
	}
	if (rc == 0)
		req_reply(r, json_pack("{s:O}", "security_groups", list));
	return rc;
}
