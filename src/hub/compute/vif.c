/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/compute/vif.h"

#include <string.h>

#include "base/json.h"
#include "base/types.h"
#include "hub/compute/input.h"
#include "hub/network/port.h"

static void decref_json(void *j)
{
	json_decref(j);
}

/* The arena drops the reference. */
static int keep(struct req *r, json_t *take, struct err *e)
{
	if (take && arena_hook(r->arena, decref_json, take) == 0)
		return 0;
	json_decref(take);
	return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

/* ---- reading ---- */

static bool mine(const struct req *r, const char *project_id)
{
	return r->auth.is_admin || (r->auth.project_id && strcmp(project_id, r->auth.project_id) == 0);
}

static int check_network(struct req *r, struct vif_want *w, enum fault missing, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e, "SELECT project_id, shared FROM network WHERE id = ?", "s",
			  w->network_id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || !(db_int(q, 1) || mine(r, db_text(q, 0))))
		return err_set(e, missing, "networks", "Network %.64s could not be found.",
			       w->network_id);
	return 0;
}

static int check_port(struct req *r, struct vif_want *w, enum fault missing, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT project_id, network_id, device_id, node_id FROM port WHERE id = ?",
			  "s", w->port_id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || !mine(r, db_text(q, 0)))
		return err_set(e, missing, "networks", "Port %.64s could not be found.", w->port_id);
	if (*db_text(q, 2))
		return err_set(e, FAULT_IN_USE, "networks", "Port %s is still in use.", w->port_id);
	w->network_id = arena_strdup(r->arena, db_text(q, 1));
	w->node_id = arena_strdup(r->arena, db_text(q, 3));
	return arena_failed(r->arena) ? err_set(e, FAULT_NO_MEMORY, NULL, "out of memory") : 0;
}

int vif_check(struct req *r, struct vif_want *w, enum fault missing, struct err *e)
{
	return w->port_id ? check_port(r, w, missing, e) : check_network(r, w, missing, e);
}

static int read_fixed_ip(struct req *r, const json_t *item, struct vif_want *w, struct err *e)
{
	const char *ip = NULL;
	struct ip_addr addr;
	json_t *list;
	int rc = input_str_null(item, "fixed_ip", IP_STR_SIZE, &ip, e);

	if (rc < 0 || !ip)
		return MIN_OF(rc, 0);
	if (ip_parse(str_of(ip), &addr) < 0)
		return input_bad(e, "fixed_ip", json_object_get(item, "fixed_ip"),
				 "It is not an 'ipv4' or 'ipv6' address");
	if (w->port_id)
		return err_set(e, FAULT_BAD_REQUEST, "fixed_ip",
			       "Specified Fixed IP '%s' cannot be used with port '%s': the two "
			       "cannot be specified together.",
			       ip, w->port_id);
	list = json_pack("[{s:s}]", "ip_address", ip);
	w->fixed_ips = list;
	return keep(r, list, e);
}

static int read_tag(const json_t *item, const char **ret, struct err *e)
{
	int rc = input_str_null(item, "tag", SERVER_TAG_SIZE, ret, e);

	if (rc < 0 || !*ret)
		return MIN_OF(rc, 0);
	if (!**ret || strpbrk(*ret, ",/"))
		return input_bad(e, "tag", json_object_get(item, "tag"),
				 "A tag has at least one character and no ',' or '/'");
	return 0;
}

static const struct input_key network_keys[] = {
	{ "uuid" }, { "port" }, { "fixed_ip" }, { "tag", 32 }, { NULL },
};

static int read_item(struct req *r, const json_t *item, struct vif_want *w, struct err *e)
{
	const char *uuid = NULL, *port = NULL;

	if (!json_is_object(item))
		return input_bad(e, "networks", item, "It is not of type 'object'");
	if (input_only(item, "networks", network_keys, r->micro, e) < 0 ||
	    input_str_null(item, "uuid", 64, &uuid, e) < 0 ||
	    input_str_null(item, "port", 64, &port, e) < 0)
		return -e->num;
	if (!uuid && !port)
		return err_set(e, FAULT_BAD_REQUEST, "networks",
			       "Bad networks format: network uuid is not in proper format (None)");
	if (port && input_uuid(r->arena, "port", port, &w->port_id, e) < 0)
		return -e->num;
	if (!port && input_uuid(r->arena, "uuid", uuid, &w->network_id, e) < 0)
		return -e->num;
	if (read_tag(item, &w->tag, e) < 0 || read_fixed_ip(r, item, w, e) < 0)
		return -e->num;
	return vif_check(r, w, FAULT_BAD_REQUEST, e);
}

static int check_distinct(const struct vif_want *w, size_t n, struct err *e)
{
	const struct vif_want *last = &w[n - 1];

	for (size_t i = 0; i + 1 < n; i++) {
		if (last->port_id && w[i].port_id && strcmp(last->port_id, w[i].port_id) == 0)
			return err_set(e, FAULT_BAD_REQUEST, "networks", "Port %s is given twice.",
				       last->port_id);
		if (last->tag && w[i].tag && strcmp(last->tag, w[i].tag) == 0)
			return err_set(e, FAULT_BAD_REQUEST, "networks",
				       "Duplicate tag '%s': device tags must be unique.", last->tag);
	}
	return 0;
}

/* The project's own networks, else shared ones; external ones are never meant. */
static int only_network(struct req *r, bool must, struct vif_want *ret, size_t *ret_n, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	int rc = db_query(r->db, &q, e,
			  "SELECT id FROM network WHERE external = 0 AND (project_id = ? OR "
			  "(shared = 1 AND NOT EXISTS (SELECT 1 FROM network o WHERE o.project_id "
			  "= ? AND o.external = 0))) LIMIT 2",
			  "ss", r->auth.project_id, r->auth.project_id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc < 0)
		return rc;
	*ret_n = 0;
	if (rc == 0)
		return must ? err_set(e, FAULT_BAD_REQUEST, "networks",
				      "Unable to automatically allocate a network for project %s",
				      r->auth.project_id) :
			      0;
	ret[0] = (struct vif_want){ .network_id = arena_strdup(r->arena, db_text(q, 0)) };
	*ret_n = 1;
	rc = db_step(q, e);
	if (rc == 1)
		return err_set(e, FAULT_CONFLICT, "networks",
			       "Multiple possible networks found, use a Network ID to be more "
			       "specific.");
	return rc;
}

int vif_read(struct req *r, const json_t *body, struct vif_want *ret, size_t *ret_n, struct err *e)
{
	const json_t *networks = json_object_get(body, "networks"), *item;
	const char *word = json_string_value(networks);
	size_t i;

	*ret_n = 0;
	if (r->micro >= 37 && !networks)
		return err_set(e, FAULT_BAD_REQUEST, "networks",
			       "Invalid input for field/attribute server. 'networks' is a required "
			       "property");
	if (r->micro >= 37 && word && strcmp(word, "none") == 0)
		return 0;
	if (!networks || (r->micro >= 37 && word && strcmp(word, "auto") == 0))
		return only_network(r, r->micro >= 37, ret, ret_n, e);
	if (!json_is_array(networks))
		return input_bad(e, "networks", networks, "It is not of type 'array'");
	if (json_array_size(networks) > SERVER_VIFS_MAX)
		return input_bad(e, "networks", NULL, "At most %d networks are allowed",
				 SERVER_VIFS_MAX);
	if (json_array_size(networks) == 0 && r->micro < 37)
		return only_network(r, false, ret, ret_n, e);
	json_array_foreach(networks, i, item) {
		ret[i] = (struct vif_want){ 0 };
		*ret_n = i + 1;
		if (read_item(r, item, &ret[i], e) < 0 || check_distinct(ret, i + 1, e) < 0)
			return -e->num;
	}
	return 0;
}

static int group_id(struct req *r, const char *name, const char **ret, struct err *e)
{
	int rc = db_get_text(r->db, r->arena, ret, e,
			     "SELECT id FROM security_group WHERE project_id = ? AND (id = ? OR "
			     "name = ?) ORDER BY id = ? DESC LIMIT 1",
			     "ssss", r->auth.project_id, name, name, name);

	if (rc == 0)
		return err_set(e, FAULT_BAD_REQUEST, "security_groups",
			       "Unable to find security_group with name or id '%.64s'", name);
	return MIN_OF(rc, 0);
}

int vif_groups(struct req *r, const json_t *names, json_t **ret, struct err *e)
{
	json_t *out = NULL;
	const json_t *item;
	size_t i;

	*ret = NULL;
	if (!names)
		return 0;
	if (!json_is_array(names) || json_array_size(names) > 32)
		return input_bad(e, "security_groups", names, "It is not a list of at most 32");
	out = json_array();
	if (keep(r, out, e) < 0)
		return -e->num;
	json_array_foreach(names, i, item) {
		const char *name = NULL, *id = NULL;

		if (!json_is_object(item))
			return input_bad(e, "security_groups", item, "It is not of type 'object'");
		if (input_need(item, "name", e) < 0 || input_str(item, "name", 1, 255, &name, e) < 0)
			return -e->num;
		/* Nova's word for "whatever new ports have". */
		if (strcmp(name, "default") == 0 && json_array_size(names) == 1)
			return 0;
		if (group_id(r, name, &id, e) < 0)
			return -e->num;
		json_array_append_new(out, json_string(id));
	}
	*ret = json_array_size(out) > 0 ? out : NULL;
	return 0;
}

/* ---- plugging ---- */

static int make_port(struct req *r, const struct server *s, struct vif_want *w,
		     const json_t *group_ids, struct err *e)
{
	CLEANUP(json_freep) json_t *body = json_pack("{s:s}", "network_id", w->network_id);
	CLEANUP(json_freep) json_t *row = NULL;
	int rc;

	if (r->auth.is_admin)
		put_str(body, "project_id", s->project_id);
	if (w->fixed_ips)
		json_object_set(body, "fixed_ips", (json_t *)w->fixed_ips);
	if (group_ids)
		json_object_set(body, "security_groups", (json_t *)group_ids);
	rc = rest_insert(r, &port_resource, body, &row, e);
	if (rc < 0)
		return rc;
	w->port_id = arena_strdup(r->arena, json_str(row, "id"));
	return w->port_id ? 0 : err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
}

/* The smallest slot that no vNIC has. */
static int free_slot(struct req *r, const char *server_id, int64_t *ret, struct err *e)
{
	int rc = db_get_int(r->db, ret, e,
			    "SELECT MIN(c.idx) FROM (SELECT 0 AS idx UNION ALL "
			    "SELECT idx + 1 FROM server_vif WHERE server_id = ?) c WHERE NOT EXISTS "
			    "(SELECT 1 FROM server_vif v WHERE v.server_id = ? AND v.idx = c.idx)",
			    "ss", server_id, server_id);

	if (rc > 0 && *ret >= SERVER_VIFS_MAX)
		return err_set(e, FAULT_FORBIDDEN, NULL, "Instance %s has all its %d interfaces.",
			       server_id, SERVER_VIFS_MAX);
	return MIN_OF(rc, 0);
}

int vif_plug(struct req *r, const struct server *s, struct vif_want *w, const json_t *group_ids,
	     struct err *e)
{
	bool made = !w->port_id;
	int64_t idx = 0;
	int rc = made ? make_port(r, s, w, group_ids, e) : 0;

	if (rc == 0)
		rc = free_slot(r, s->id, &idx, e);
	if (rc == 0)
		rc = db_exec(r->db, e,
			     "INSERT INTO server_vif (server_id, idx, port_id, tag, delete_port) "
			     "VALUES (?, ?, ?, ?, ?)",
			     "sissb", s->id, idx, w->port_id, w->tag, (int)made);
	if (rc < 0)
		return rc;
	return port_bind(r, w->port_id, s->id, s->node_id, s->site_name, e);
}

/* A port that something else still needs (a port pair) stays, unbound. */
static int drop_port(struct req *r, const char *port_id, bool made, struct err *e)
{
	int rc = port_unbind(r, port_id, e);

	if (rc < 0 || !made)
		return rc;
	rc = rest_remove(r, &port_resource, port_id, e);
	if (rc < 0 && (e->fault == FAULT_IN_USE || e->fault == FAULT_CONFLICT))
		return 0;
	return rc;
}

int vif_unplug(struct req *r, const struct server *s, const char *port_id, struct err *e)
{
	int64_t made;
	int rc = db_get_int(r->db, &made, e,
			    "SELECT delete_port FROM server_vif WHERE server_id = ? AND port_id = ?",
			    "ss", s->id, port_id);

	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "port_id",
			       "No port with id %.64s is attached to instance %s.", port_id, s->id);
	if (rc > 0)
		rc = db_exec(r->db, e, "DELETE FROM server_vif WHERE server_id = ? AND port_id = ?",
			     "ss", s->id, port_id);
	return rc < 0 ? rc : drop_port(r, port_id, made, e);
}

int vif_unplug_all(struct req *r, const struct server *s, struct err *e)
{
	const char *port_id;
	int rc;

	while ((rc = db_get_text(r->db, r->arena, &port_id, e,
				 "SELECT port_id FROM server_vif WHERE server_id = ? LIMIT 1", "s",
				 s->id)) == 1) {
		rc = vif_unplug(r, s, port_id, e);
		if (rc < 0)
			return rc;
	}
	return rc;
}
