/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <stdio.h>
#include <string.h>

/* Verb of a route: by its generic handler, else by its method and shape. */
static const char *verb_of(const struct route *rt)
{
	size_t len = strlen(rt->path);
	bool one = len && rt->path[len - 1] == '}';

	switch (rt->method) {
	case HTTP_GET:
	case HTTP_HEAD:
		return rt->handler == rest_list || (!one && rt->handler != rest_show) ? "list" : "show";
	case HTTP_POST:
		return "create";
	case HTTP_PUT:
	case HTTP_PATCH:
		return "update";
	case HTTP_DELETE:
		return "delete";
	case HTTP_OPTIONS:
	case HTTP_OTHER:
		break;
	}
	return "other";
}

const char *policy_name(const struct route *rt, char *buf, size_t size)
{
	if (rt->policy)
		return rt->policy;
	if (!rt->resource || !rt->resource->policy)
		return "";
	snprintf(buf, size, "%s:%s", rt->resource->policy, verb_of(rt));
	return buf;
}

bool policy_find(const struct module *m, const struct route *rt, enum policy_who *ret)
{
	const struct policy_rule *best = NULL;
	size_t best_len = 0;
	char buf[128];
	const char *name = policy_name(rt, buf, sizeof(buf));

	for (const struct policy_rule *rule = m->policy; rule && rule->name; rule++) {
		size_t len = strlen(rule->name);
		bool star = len && rule->name[len - 1] == '*';
		bool match = star ? strncmp(rule->name, name, len - 1) == 0 :
				    strcmp(rule->name, name) == 0;

		/* An exact name is longer than any prefix of itself. */
		if (match && (!best || len + !star > best_len)) {
			best = rule;
			best_len = len + !star;
		}
	}
	if (!best)
		return false;
	*ret = best->who;
	return true;
}

enum { ROLE_ADMIN = 1, ROLE_MEMBER = 2, ROLE_READER = 4 };

static bool is_allowed(const struct req *r, enum policy_who who)
{
	const struct req_auth *a = &r->auth;
	const char *owner;

	if (a->is_admin || who == WHO_ANYONE)
		return true;
	switch (who) {
	case WHO_ANYONE:
	case WHO_USER:
		return a->user_id != NULL;
	case WHO_READER:
		return a->project_id && a->roles & (ROLE_ADMIN | ROLE_MEMBER | ROLE_READER);
	case WHO_MEMBER:
		return a->project_id && a->roles & (ROLE_ADMIN | ROLE_MEMBER);
	case WHO_ADMIN:
		return false;
	case WHO_OWNER_OR_ADMIN:
		owner = req_impl(r)->n_params ? req_impl(r)->params[0].value : NULL;
		return owner && a->user_id && strcmp(owner, a->user_id) == 0;
	}
	return false;
}

int policy_check(const struct req *r, const struct route_entry *entry, struct err *e)
{
	char buf[128];

	if (entry->route->flags & ROUTE_PUBLIC)
		return 0;
	if (entry->known_policy && is_allowed(r, entry->who))
		return 0;
	return err_set(e, FAULT_FORBIDDEN, NULL, "Policy doesn't allow %s to be performed.",
		       policy_name(entry->route, buf, sizeof(buf)));
}
