/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_IDENTITY_IDENTITY_H
#define DEMARC_HUB_IDENTITY_IDENTITY_H

/* What the files of the identity API share. */

#include "hub/identity/auth.h"
#include "hub/rest.h"

#define DOMAIN_DEFAULT_ID "default"
#define REGION_ID "RegionOne"

/* tokens.c */
int token_create(struct req *r, struct err *e);
int token_show(struct req *r, struct err *e);
int token_revoke(struct req *r, struct err *e);
int auth_catalog(struct req *r, struct err *e);
int auth_projects(struct req *r, struct err *e);
int auth_domains(struct req *r, struct err *e);
int auth_system(struct req *r, struct err *e);
/* login.c: the body of POST /auth/tokens to a token that is still to be signed. */
WARN_UNUSED int login(struct req *r, struct token *ret, struct err *e);

/* catalog.c */
json_t *catalog(struct req *r, const char *project_id); /* new reference; NULL: no memory */
int service_list(struct req *r, struct err *e);
int service_show(struct req *r, struct err *e);
int endpoint_list(struct req *r, struct err *e);
int endpoint_show(struct req *r, struct err *e);
int region_list(struct req *r, struct err *e);
int region_show(struct req *r, struct err *e);

/* users.c, projects.c */
extern const struct resource domain_resource, role_resource;
int user_password(struct req *r, struct err *e);
int user_projects(struct req *r, struct err *e);
/* GET of what demarc has none of: an empty list under the collection's name. */
int empty_groups(struct req *r, struct err *e);
/* row["links"] = {"self": …/plural/id}; row: the expanded row */
WARN_UNUSED int add_self_link(struct req *r, const struct resource *res, json_t *row, struct err *e);

/* assignments.c: the target is the path's project, domain, or the system */
int assignment_put(struct req *r, struct err *e);
int assignment_check(struct req *r, struct err *e);
int assignment_delete(struct req *r, struct err *e);
int assignment_roles(struct req *r, struct err *e);
int assignment_list(struct req *r, struct err *e);

#endif
