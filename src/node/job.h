/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_JOB_H
#define DEMARC_NODE_JOB_H

/*
 * What is done to a server in a worker. A job holds copies of all it needs and touches nothing else of the node; the
 * loop reads its result. Each is idempotent, so that a crash in the middle is repaired by doing it again.
 */

#include <limits.h>

#include "node/meta.h"
#include "node/runtime.h"
#include "node/vnic.h"

enum job_kind {
	JOB_PREPARE, /* fresh namespace, veths */
	JOB_WIRE,    /* veths of a running function */
	JOB_START,   /* overlay, config drive, bundle, create, start */
	JOB_STOP,    /* everything of a run away; with `final` the server's disk too */
};

struct server_job {
	enum job_kind kind;
	int r; /* result */
	struct err err;
	struct runtime rt;
	char id[UUID_STR_SIZE];
	char netns[PATH_MAX];  /* run_dir/netns/<id> */
	char bundle[PATH_MAX]; /* run_dir/bundle/<id> */
	char rootfs[PATH_MAX]; /* run_dir/rootfs/<id>: mount point */
	char home[PATH_MAX];   /* state_dir/servers/<id> */
	struct vnics want, old;
	/* START */
	char image_dir[PATH_MAX], cgroup[128], hostname[64];
	char run_spec[320];
	uint32_t vcpus, memory_mb;
	bool fresh_disk, config_drive;
	struct meta_docs docs;
	char resolv_conf[512];
	pid_t pid; /* START: result; STOP: whom to end, or 0 */
	/* STOP */
	bool final;
};

void job_run(struct server_job *j);

#endif
