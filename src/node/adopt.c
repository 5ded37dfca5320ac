/* SPDX-License-Identifier: Apache-2.0 */
#include "node/server.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "node/server_spec.h"

/*
 * What an agent finds of the one before it. A running container whose server is still wanted goes on without noticing;
 * anything else that carries a server's id (container, namespace, mount point, bundle, disk) makes a `struct server`
 * with residue, and the ordinary steps clean it.
 */

static struct server *server_of(struct node *n, const char *id)
{
	struct server *s = server_find(n, id);

	return s ? s : server_new(n, id);
}

static void find_in(struct node *n, const char *dir, const char *what, bool residue)
{
	char path[PATH_MAX];
	struct uuid u;
	struct dirent *de;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, what);
	d = opendir(path);
	while (d && (de = readdir(d))) {
		struct server *s;

		if (strlen(de->d_name) != UUID_STR_SIZE - 1 || uuid_parse(str_of(de->d_name), &u) < 0)
			continue;
		s = server_of(n, de->d_name);
		if (s)
			*(residue ? &s->residue : &s->disk) = true;
	}
	if (d)
		(void)closedir(d);
}

static int adopt_running(struct server *s, const struct runtime_row *row, struct err *e)
{
	const Demarc__V1__Server *pb = intent_server(s->n->intent, s->id);
	const char *spec = local_note(s->n->local, "run", s->id);

	if (!pb || !spec || strcmp(row->status, "running") != 0)
		return err_set(e, FAULT_GONE, NULL, "not wanted, or not known to have started");
	(void)str_copy(s->run_spec, sizeof(s->run_spec), str_of(spec));
	s->pid = row->pid;
	s->want_known = server_spec_vnics(s->n, pb, &s->want, s->want_missing, sizeof(s->want_missing));
	return server_take_over(s, pb, e);
}

int servers_adopt(struct node *n, struct err *e)
{
	CLEANUP(free_voidp) struct runtime_row *rows = NULL;
	int count = runtime_list(&n->rt, &rows, e);

	find_in(n, n->cfg.run_dir, "runc", true);
	find_in(n, n->cfg.run_dir, "netns", true);
	find_in(n, n->cfg.run_dir, "rootfs", true);
	find_in(n, n->cfg.run_dir, "bundle", true);
	find_in(n, n->cfg.state_dir, "servers", false);
	for (int i = 0; i < count; i++) {
		struct server *s = server_of(n, rows[i].id);
		struct err why = { 0 };

		if (!s)
			return err_set(e, FAULT_NO_MEMORY, NULL, "servers");
		s->residue = true;
		if (rows[i].pid > 0 && adopt_running(s, &rows[i], &why) == 0)
			log_info("function_adopted", "server=%s pid=%d", s->id, (int)s->pid);
		else
			s->pid = rows[i].pid;
	}
	return count < 0 ? count : 0;
}
