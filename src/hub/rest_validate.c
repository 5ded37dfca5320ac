/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

#define STR_DFLT_MAX_BYTES 255
#define LIST_DFLT_MAX_ITEMS 256

bool json_depth_within(struct str text, unsigned max)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max)
				return false;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

/* "port.mac_address": what every message and err.field name. */
static const char *field_path(const struct resource *res, const struct attr *at,
			      char buf[static ERR_FIELD_SIZE])
{
	struct strbuf b = { .limit_bytes = ERR_FIELD_SIZE - 1 };

	strbuf_addf(&b, "%s.%s", res->singular, at->name);
	str_copy(buf, ERR_FIELD_SIZE, str_of(strbuf_cstr(&b)));
	strbuf_done(&b);
	return buf;
}

/* The value as the message shows it, cut to something a line can hold. */
static const char *show(const json_t *v, char buf[static 80])
{
	char *text = v ? json_text(v) : NULL;
	struct str s = str_of(text ? text : "null");

	if (json_is_string(v))
		s = (struct str){ s.ptr + 1, s.len - 2 };
	if (str_copy(buf, 80, s) < 0)
		while (*buf && !str_is_utf8(str_of(buf)))
			buf[strlen(buf) - 1] = '\0';
	free(text);
	return buf;
}

static int invalid(const struct resource *res, const struct attr *at, const json_t *v,
		   const char *reason, struct err *e)
{
	char path[ERR_FIELD_SIZE], value[80];

	field_path(res, at, path);
	return err_set(e, FAULT_BAD_REQUEST, path, "Invalid input for %s. Reason: '%s' %s.", path,
		       show(v, value), reason);
}

static int check_text(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		      struct err *e)
{
	size_t max = at->max ? (size_t)at->max : STR_DFLT_MAX_BYTES, len;
	char reason[80];
	struct strbuf b = { .limit_bytes = sizeof(reason) - 1 };

	if (!json_is_string(v))
		return invalid(res, at, v, "is not of type 'string'", e);
	len = json_string_length(v);
	if (len >= (size_t)at->min && len <= max) {
		*ret = json_incref(v);
		return 0;
	}
	if (len > max)
		strbuf_addf(&b, "is too long: at most %zu bytes", max);
	else
		strbuf_addf(&b, "is too short: at least %lld bytes", (long long)at->min);
	str_copy(reason, sizeof(reason), str_of(strbuf_cstr(&b)));
	strbuf_done(&b);
	return invalid(res, at, v, reason, e);
}

static int check_int(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		     struct err *e)
{
	int64_t min = at->min, max = at->max || at->min ? at->max : INT32_MAX, n;
	char reason[96];
	struct strbuf b = { .limit_bytes = sizeof(reason) - 1 };

	/* Clients and templates send numbers as text as well; OpenStack takes both. */
	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (!json_is_string(v) || str_to_i64(str_of(json_string_value(v)), &n) < 0)
		return invalid(res, at, v, "is not an integer", e);
	if (n >= min && n <= max) {
		*ret = json_integer(n);
		return 0;
	}
	strbuf_addf(&b, "is not in the range %lld to %lld", (long long)min, (long long)max);
	str_copy(reason, sizeof(reason), str_of(strbuf_cstr(&b)));
	strbuf_done(&b);
	return invalid(res, at, v, reason, e);
}

static int check_bool(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		      struct err *e)
{
	int b = json_is_boolean(v) ? json_is_true(v) :
		json_is_string(v)  ? bool_parse(json_string_value(v)) :
		json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) <= 1 ?
				    (int)json_integer_value(v) :
				    -1;

	/* Keystone's schema is strict here, the other services' converters are not. */
	if (b < 0 || (strcmp(res->service, "identity") == 0 && !json_is_boolean(v)))
		return invalid(res, at, v, "is not of type 'boolean'", e);
	*ret = json_boolean(b);
	return 0;
}

static int check_real(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		      struct err *e)
{
	double d = json_number_value(v);

	if (!json_is_number(v) || !isfinite(d))
		return invalid(res, at, v, "is not a number", e);
	if (d < (double)at->min || (at->max && d > (double)at->max))
		return invalid(res, at, v, "is out of range", e);
	*ret = json_real(d);
	return 0;
}

/* Addresses in their canonical text, so that equal ones are equal in SQL. */
static int check_address(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
			 struct err *e)
{
	struct str s = str_of(json_string_value(v));
	char buf[CIDR_STR_SIZE];
	struct ip_addr ip;
	struct ip_cidr cidr;
	struct mac mac;

	if (at->type == ATTR_MAC &&
	    (mac_parse(s, &mac) < 0 || mac_is_zero(mac) || mac_is_multicast(mac)))
		return invalid(res, at, v, "is not a valid MAC address", e);
	if (at->type == ATTR_IP && ip_parse(s, &ip) < 0)
		return invalid(res, at, v, "is not a valid IP address", e);
	if (at->type == ATTR_CIDR && cidr_parse(s, &cidr) < 0)
		return invalid(res, at, v, "is not a valid CIDR", e);
	*ret = json_string(at->type == ATTR_MAC ? mac_format(mac, buf) :
			   at->type == ATTR_IP	? ip_format(ip, buf) :
						  cidr_format(cidr, buf));
	return 0;
}

static int check_uuid(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		      struct err *e)
{
	char buf[UUID_STR_SIZE];
	struct uuid u;

	if (!json_is_string(v) || uuid_parse(str_of(json_string_value(v)), &u) < 0)
		return invalid(res, at, v, "is not a valid UUID", e);
	/* The form is kept: ids of projects and users have no dashes, all others do. */
	*ret = json_string_length(v) == UUID_HEX_SIZE - 1 ? json_string(uuid_format_hex(u, buf)) :
							    json_string(uuid_format(u, buf));
	return 0;
}

static int check_enum(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		      struct err *e)
{
	const char *s = json_string_value(v);
	char reason[256];
	struct strbuf b = { .limit_bytes = sizeof(reason) - 1 };

	for (int i = 0; s && at->choices[i]; i++)
		if (strcmp(s, at->choices[i]) == 0) {
			*ret = json_incref(v);
			return 0;
		}
	strbuf_adds(&b, "is not one of ");
	for (int i = 0; at->choices[i]; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", at->choices[i]);
	str_copy(reason, sizeof(reason), str_of(strbuf_cstr(&b)));
	strbuf_done(&b);
	return invalid(res, at, v, reason, e);
}

static int check_container(const struct resource *res, const struct attr *at, json_t *v,
			   json_t **ret, struct err *e)
{
	size_t max = at->max ? (size_t)at->max : LIST_DFLT_MAX_ITEMS;

	if (at->type == ATTR_OBJ && !json_is_object(v))
		return invalid(res, at, v, "is not of type 'object'", e);
	if (at->type == ATTR_LIST && !json_is_array(v))
		return invalid(res, at, v, "is not a list", e);
	if (json_array_size(v) > max || json_object_size(v) > max)
		return invalid(res, at, v, "has too many items", e);
	*ret = json_deep_copy(v);
	return 0;
}

int validate_value(const struct resource *res, const struct attr *at, json_t *v, json_t **ret,
		   struct err *e)
{
	int rc = 0;

	*ret = NULL;
	if (json_is_null(v)) {
		if (!(at->flags & ATTR_NULLABLE))
			return invalid(res, at, NULL, "is not allowed here", e);
		*ret = json_null();
		return 0;
	}
	switch (at->type) {
	case ATTR_STR:
		rc = check_text(res, at, v, ret, e);
		break;
	case ATTR_INT:
		rc = check_int(res, at, v, ret, e);
		break;
	case ATTR_BOOL:
		rc = check_bool(res, at, v, ret, e);
		break;
	case ATTR_REAL:
		rc = check_real(res, at, v, ret, e);
		break;
	case ATTR_UUID:
		rc = check_uuid(res, at, v, ret, e);
		break;
	case ATTR_IP:
	case ATTR_CIDR:
	case ATTR_MAC:
		rc = check_address(res, at, v, ret, e);
		break;
	case ATTR_ENUM:
		rc = check_enum(res, at, v, ret, e);
		break;
	case ATTR_OBJ:
	case ATTR_LIST:
		rc = check_container(res, at, v, ret, e);
		break;
	case ATTR_TIME_S:
	case ATTR_TIME_US:
		return invalid(res, at, v, "cannot be set", e);
	case ATTR_ANY:
		*ret = json_deep_copy(v);
		break;
	}
	if (rc == 0 && !*ret)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a value");
	return rc;
}

/* May this caller give this attribute, in create or in update? */
static int check_allowed(struct req *r, const struct resource *res, const struct attr *at,
			 const char *name, enum attr_flag verb, struct err *e)
{
	char path[ERR_FIELD_SIZE], shown[64];

	if (!at || (at->flags & ATTR_HIDDEN && !(at->flags & verb)) || at->since > r->micro) {
		struct strbuf b = { .limit_bytes = sizeof(shown) - 1 };

		strbuf_add(&b, name, MIN_OF(strlen(name), sizeof(shown) - 1));
		while (b.len && !str_is_utf8((struct str){ b.ptr, b.len }))
			b.ptr[--b.len] = '\0';
		str_copy(shown, sizeof(shown), str_of(strbuf_cstr(&b)));
		strbuf_done(&b);
		return err_set(e, FAULT_BAD_REQUEST, shown[0] ? shown : res->singular,
			       "Unrecognized attribute(s) '%s' in %s.", shown, res->singular);
	}
	if (!(at->flags & verb))
		return err_set(e, FAULT_BAD_REQUEST, field_path(res, at, path),
			       "Attribute '%s' not allowed in %s.", name,
			       verb == ATTR_CREATE ? "POST" : "PUT");
	if (at->flags & ATTR_ADMIN && !r->auth.is_admin)
		return err_set(e, FAULT_FORBIDDEN, field_path(res, at, path),
			       "Policy does not allow '%s' to be set: it needs the role admin.", name);
	return 0;
}

static int take_value(struct req *r, const struct resource *res, const char *name, json_t *v,
		      enum attr_flag verb, json_t *row, struct err *e)
{
	const struct attr *at = attr_find(res, name);
	json_t *checked = NULL, *before;
	int rc = check_allowed(r, res, at, name, verb, e);

	if (rc == 0)
		rc = validate_value(res, at, v, &checked, e);
	if (rc < 0)
		return rc;
	/* Both the name and its alias: they must agree. */
	before = json_object_get(row, at->name);
	if (before && !json_equal(before, checked)) {
		json_decref(checked);
		return err_set(e, FAULT_BAD_REQUEST, at->name, "'%s' and '%s' differ.", at->name,
			       at->alias);
	}
	if (json_object_set_new(row, at->name, checked) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a value");
	return 0;
}

/* The project of a new row: the token's; another one only for an admin. */
static int take_project(struct req *r, const struct row_plan *p, json_t *row, struct err *e)
{
	const char *name = p->project->name, *given = json_str(row, name), *own = r->auth.project_id;

	if (!given) {
		if (!own)
			return err_set(e, FAULT_FORBIDDEN, name,
				       "The token is not scoped to a project.");
		json_object_set_new(row, name, json_string(own));
		return 0;
	}
	if (!r->auth.is_admin && (!own || strcmp(given, own) != 0))
		return err_set(e, FAULT_FORBIDDEN, name,
			       "Only an admin creates a %s for another project.", p->res->singular);
	return 0;
}

static int add_defaults(const struct row_plan *p, json_t *row, struct err *e)
{
	for (size_t i = 0; i < p->n_attrs; i++) {
		const struct attr *at = &p->res->attrs[i];
		char path[ERR_FIELD_SIZE];

		if (json_object_get(row, at->name))
			continue;
		if (at->flags & ATTR_REQUIRED)
			return err_set(e, FAULT_BAD_REQUEST, field_path(p->res, at, path),
				       "'%s' is a required property of %s.", at->name,
				       p->res->singular);
		if (p->dflts[i] && json_object_set_new(row, at->name, json_deep_copy(p->dflts[i])) < 0)
			return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a value");
	}
	return 0;
}

static void add_key(const struct row_plan *p, json_t *row)
{
	char buf[UUID_STR_SIZE];
	struct uuid u;

	if (!p->key || json_object_get(row, p->key->name))
		return;
	u = uuid_random();
	json_object_set_new(row, p->key->name,
			    json_string(strcmp(p->res->service, "identity") == 0 ?
						uuid_format_hex(u, buf) :
						uuid_format(u, buf)));
}

static int take_all(struct req *r, const struct resource *res, const json_t *body,
		    enum attr_flag verb, json_t *row, struct err *e)
{
	const char *name;
	json_t *v;

	if (!json_is_object(body))
		return err_set(e, FAULT_BAD_REQUEST, res->singular, "'%s' must be an object.",
			       res->singular);
	json_object_foreach((json_t *)body, name, v) {
		int rc = take_value(r, res, name, v, verb, row, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int validate_create(struct req *r, const struct row_plan *p, const json_t *body, json_t **ret_row,
		    struct err *e)
{
	CLEANUP(json_freep) json_t *row = json_object();
	int rc = row ? take_all(r, p->res, body, ATTR_CREATE, row, e) :
		       err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a row");

	if (rc == 0)
		rc = add_defaults(p, row, e);
	if (rc == 0 && p->project)
		rc = take_project(r, p, row, e);
	if (rc < 0)
		return rc;
	add_key(p, row);
	*ret_row = MOVE_PTR(row);
	return 0;
}

int validate_update(struct req *r, const struct resource *res, const json_t *body,
		    json_t **ret_changes, struct err *e)
{
	CLEANUP(json_freep) json_t *changes = json_object();
	int rc = changes ? take_all(r, res, body, ATTR_UPDATE, changes, e) :
			   err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a row");

	if (rc < 0)
		return rc;
	*ret_changes = MOVE_PTR(changes);
	return 0;
}
