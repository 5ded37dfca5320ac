/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/identity/identity.h"
#include "hub/identity/password.h"
#include "hub/setup.h"

#include "base/clock.h"

/* Every start: the default domain and the roles of the policy. Their ids are constant where a client may know them. */
int identity_bootstrap(struct hub *h, struct db *db, struct err *e)
{
	static const char *const roles[] = { "admin", "member", "reader", "service" };
	int rc = db_exec(db, e,
			 "INSERT OR IGNORE INTO domain (id, name, description) VALUES ('default', 'Default', 'The default domain')",
			 "");

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(roles); i++) {
		char id[UUID_HEX_SIZE];

		rc = db_exec(db, e, "INSERT OR IGNORE INTO role (id, name) VALUES (?, ?)", "ss",
			     uuid_format_hex(uuid_random(), id), roles[i]);
	}
	return rc < 0 ? rc : 0;
}

/* First start: the user and project "admin", with the role admin on the project and on the system. */
int identity_bootstrap_admin(struct db *db, const char *password, struct err *e)
{
	char user[UUID_HEX_SIZE], project[UUID_HEX_SIZE], hash[PASSWORD_HASH_SIZE];
	int rc = password_hash(password, hash, e);

	uuid_format_hex(uuid_random(), user);
	uuid_format_hex(uuid_random(), project);
	if (rc >= 0)
		rc = db_exec(db, e,
			     "INSERT INTO project (id, name, domain_id, parent_id, description) VALUES (?, 'admin', 'default', 'default', ?)",
			     "ss", project, "The operator's own project");
	if (rc >= 0)
		rc = db_exec(db, e,
			     "INSERT INTO user (id, name, domain_id, password_hash, password_changed_us, default_project_id)"
			     " VALUES (?, 'admin', 'default', ?, ?, ?)",
			     "ssis", user, hash, clock_wall_us(), project);
	if (rc >= 0)
		rc = db_exec(db, e,
			     "INSERT INTO assignment (user_id, target_kind, target_id, role_id)"
			     " SELECT ?, 'project', ?, id FROM role WHERE name = 'admin'",
			     "ss", user, project);
	if (rc >= 0)
		rc = db_exec(db, e,
			     "INSERT INTO assignment (user_id, target_kind, target_id, role_id)"
			     " SELECT ?, 'system', 'all', id FROM role WHERE name = 'admin'",
			     "s", user);
	return rc < 0 ? rc : 0;
}
