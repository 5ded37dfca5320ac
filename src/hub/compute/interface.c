/* SPDX-License-Identifier: Apache-2.0 */
/* os-interface. Source: Nova API reference, "Port interfaces". */
#include <string.h>

#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/compute/vif.h"

static int put_fixed_ips(struct req *r, json_t *v, const char *port_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *list = json_array();
	int rc;

	json_object_set_new(v, "fixed_ips", list);
	rc = db_query(r->db, &q, e,
		      "SELECT subnet_id, ip FROM port_ip WHERE port_id = ? ORDER BY ord, ip", "s",
		      port_id);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		json_array_append_new(list, json_pack("{s:s, s:s}", "subnet_id", db_text(q, 0),
						      "ip_address", db_text(q, 1)));
		rc = 0;
	}
	return rc;
}

/* One row of "SELECT p.id, p.network_id, p.mac_address, p.status, v.tag". */
static int view_row(struct req *r, struct db_rows *q, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *v = json_object();
	int rc;

	put_str(v, "port_id", db_text(q, 0));
	put_str(v, "net_id", db_text(q, 1));
	put_str(v, "mac_addr", db_text(q, 2));
	put_str(v, "port_state", db_text(q, 3));
	if (r->micro >= 70)
		put_str(v, "tag", db_text(q, 4));
	rc = put_fixed_ips(r, v, db_text(q, 0), e);
	if (rc == 0)
		*ret = MOVE_PTR(v);
	return rc;
}

int interface_list(struct req *r, struct err *e)
{
	CLEANUP(json_freep) json_t *out = json_array();
	CLEANUP(db_donep) struct db_rows *q = NULL;
	struct server s;
	json_t *v;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = db_query(r->db, &q, e,
			      "SELECT p.id, p.network_id, p.mac_address, p.status, v.tag "
			      "FROM server_vif v JOIN port p ON p.id = v.port_id "
			      "WHERE v.server_id = ? ORDER BY v.idx",
			      "s", s.id);
	while (rc == 0 && (rc = db_step(q, e)) == 1) {
		rc = view_row(r, q, &v, e);
		if (rc == 0)
			json_array_append_new(out, v);
	}
	if (rc < 0)
		return rc;
	req_reply(r, json_pack("{s:O}", "interfaceAttachments", out));
	return 0;
}

static int reply_one(struct req *r, const struct server *s, const char *port_id, struct err *e)
{
	CLEANUP(db_donep) struct db_rows *q = NULL;
	json_t *v;
	int rc = db_query(r->db, &q, e,
			  "SELECT p.id, p.network_id, p.mac_address, p.status, v.tag "
			  "FROM server_vif v JOIN port p ON p.id = v.port_id "
			  "WHERE v.server_id = ? AND v.port_id = ?",
			  "ss", s->id, port_id);

	if (rc == 0)
		rc = db_step(q, e);
	if (rc == 0)
		return err_set(e, FAULT_NOT_FOUND, "port_id",
			       "No port with id %.64s is attached to instance %s.", port_id, s->id);
	if (rc > 0)
		rc = view_row(r, q, &v, e);
	if (rc == 0)
		req_reply(r, json_pack("{s:o}", "interfaceAttachment", v));
	return rc;
}

int interface_show(struct req *r, struct err *e)
{
	struct server s;
	int rc = server_need(r, &s, e);

	return rc < 0 ? rc : reply_one(r, &s, req_param(r, "port_id"), e);
}

static const struct input_key attach_keys[] = {
	{ "port_id" }, { "net_id" }, { "fixed_ips" }, { "tag", 49 }, { NULL },
};

static int read_ids(struct req *r, const json_t *body, struct vif_want *w, struct err *e)
{
	const char *port = NULL, *net = NULL;

	if (input_str_null(body, "port_id", 64, &port, e) < 0 ||
	    input_str_null(body, "net_id", 64, &net, e) < 0)
		return -e->num;
	if (port && net)
		return err_set(e, FAULT_BAD_REQUEST, "net_id",
			       "Must not input both network_id and port_id");
	if (port)
		return input_uuid(r->arena, "port_id", port, &w->port_id, e);
	if (net)
		return input_uuid(r->arena, "net_id", net, &w->network_id, e);
	return 0;
}

/* Exactly one address with an explicit network, as Nova. */
static int read_ips(const json_t *body, struct vif_want *w, struct err *e)
{
	const json_t *ips = json_object_get(body, "fixed_ips");
	const char *ip = NULL;

	if (!ips || json_is_null(ips))
		return 0;
	if (!json_is_array(ips) || json_array_size(ips) != 1 || !json_is_object(json_array_get(ips, 0)))
		return input_bad(e, "fixed_ips", ips, "It is not a list of one object");
	if (!w->network_id)
		return err_set(e, FAULT_BAD_REQUEST, "fixed_ips",
			       "Must input network_id when request IP address");
	if (input_need(json_array_get(ips, 0), "ip_address", e) < 0 ||
	    input_str(json_array_get(ips, 0), "ip_address", 2, 45, &ip, e) < 0)
		return -e->num;
	w->fixed_ips = ips;
	return 0;
}

static int read_attach(struct req *r, struct vif_want *w, struct err *e)
{
	json_t *body;

	*w = (struct vif_want){ 0 };
	if (input_body(r, "interfaceAttachment", &body, e) < 0 ||
	    input_only(body, "interfaceAttachment", attach_keys, r->micro, e) < 0 ||
	    read_ids(r, body, w, e) < 0 || read_ips(body, w, e) < 0 ||
	    input_str_null(body, "tag", SERVER_TAG_SIZE, &w->tag, e) < 0)
		return -e->num;
	if (w->tag && (!*w->tag || strpbrk(w->tag, ",/")))
		return input_bad(e, "tag", json_object_get(body, "tag"),
				 "A tag has at least one character and no ',' or '/'");
	return 0;
}

/* Without port and network: the project's only network, as at create before 2.37. */
static int attach_want(struct req *r, struct vif_want *w, struct err *e)
{
	CLEANUP(json_freep) json_t *nothing = json_object();
	struct vif_want only[SERVER_VIFS_MAX];
	uint16_t micro = r->micro;
	size_t n;
	int rc;

	if (w->port_id || w->network_id)
		return vif_check(r, w, FAULT_NOT_FOUND, e);
	r->micro = 1;
	rc = vif_read(r, nothing, only, &n, e);
	r->micro = micro;
	if (rc == 0 && n == 0)
		return err_set(e, FAULT_BAD_REQUEST, "net_id",
			       "No Network attachment can be made: there is no network");
	if (rc == 0)
		w->network_id = only[0].network_id;
	return rc;
}

static int check_tag(struct req *r, const struct server *s, const struct vif_want *w, struct err *e)
{
	int64_t there;
	int rc = db_get_int(r->db, &there, e, "SELECT 1 FROM server_vif WHERE server_id = ? AND tag = ?",
			    "ss", s->id, w->tag);

	if (rc > 0)
		return err_set(e, FAULT_BAD_REQUEST, "tag",
			       "Duplicate tag '%s': device tags must be unique.", w->tag);
	return rc;
}

int interface_attach(struct req *r, struct err *e)
{
	struct vif_want w;
	struct server s;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = read_attach(r, &w, e);
	if (rc < 0)
		return rc;
	if (!s.node_id)
		return server_state_conflict(&s, "attach_interface", e);
	rc = attach_want(r, &w, e);
	if (rc == 0)
		rc = check_tag(r, &s, &w, e);
	if (rc == 0 && w.node_id && strcmp(w.node_id, s.node_id) != 0)
		return err_set(e, FAULT_BAD_REQUEST, "port_id",
			       "Port %s is bound to another node than instance %s.", w.port_id, s.id);
	if (rc == 0)
		rc = vif_plug(r, &s, &w, NULL, e);
	if (rc == 0)
		rc = server_touch(r, &s, e);
	return rc < 0 ? rc : reply_one(r, &s, w.port_id, e);
}

int interface_detach(struct req *r, struct err *e)
{
	struct server s;
	int rc = server_need(r, &s, e);

	if (rc == 0)
		rc = vif_unplug(r, &s, req_param(r, "port_id"), e);
	return rc < 0 ? rc : server_touch(r, &s, e);
}
