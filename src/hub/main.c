/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hub.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "hub/cert.h"
#include "hub/config.h"
#include "hub/identity/auth.h"
#include "hub/modules.h"
#include "hub/session.h"
#include "hub/setup.h"
#include "hub/stream.h"
#include "link/link.h"

/* Exit codes, as sysexits(3) has them where it has them. */
enum { EXIT_USAGE_ERROR = 64, EXIT_START_FAILED = 1 };

#define STOP_GRACE_MS 5000
#define MALLOC_ARENAS 4		    /* more of them keep more that nobody uses */
#define MALLOC_TRIM_BYTES (1 << 20) /* fixed: the library's own would grow with the largest block */
#define MALLOC_MMAP_BYTES (256 << 10)

struct run {
	struct hub hub;
	struct setup setup;
	uv_signal_t term, interrupt, hup;
	bool stopping;
};

static void on_stopped(void *ctx)
{
	struct run *run = ctx;

	uv_close((uv_handle_t *)&run->term, NULL);
	uv_close((uv_handle_t *)&run->interrupt, NULL);
	uv_close((uv_handle_t *)&run->hup, NULL);
	uv_stop(run->hub.loop);
}

static void on_server_closed(void *ctx)
{
	uv_stop(ctx);
}

static void on_stop_signal(uv_signal_t *handle, int signum)
{
	struct run *run = handle->data;

	if (run->stopping)
		return;
	run->stopping = true;
	log_info("hub_stopping", "signal=%d", signum);
	http_server_stop(run->hub.http, STOP_GRACE_MS, on_stopped, run);
}

/* A terminal that went away is no reason to stop serving. */
static void on_hup(uv_signal_t *handle, int signum)
{
	log_info("signal_ignored", "signal=%d", signum);
}

static void watch_signals(struct run *run)
{
	uv_signal_t *all[] = { &run->term, &run->interrupt, &run->hup };
	const int nums[] = { SIGTERM, SIGINT, SIGHUP };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		uv_signal_init(run->hub.loop, all[i]);
		all[i]->data = run;
		uv_signal_start(all[i], nums[i] == SIGHUP ? on_hup : on_stop_signal, nums[i]);
	}
}

static int open_store(struct hub *h, struct setup *s, struct err *e)
{
	CLEANUP(free_charp) char *path = NULL;
	CLEANUP(db_closep) struct db *db = NULL;
	int rc;

	if (asprintf(&path, "%s/hub.db", h->config->data_dir) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	rc = store_open(path, &h->store, e);
	if (rc == 0)
		rc = setup_rows(h, s, hub_modules, hub_n_modules, e);
	if (rc == 0)
		rc = db_open(h->store, &db, e);
	return rc < 0 ? rc : auth_new(db, &h->auth, e);
}

static int listen_on_port(struct hub *h, struct err *e)
{
	CLEANUP(free_charp) char *tickets = NULL;

	if (asprintf(&tickets, "%s/tls-tickets", h->config->data_dir) < 0)
		return err_set(e, FAULT_NO_MEMORY, NULL, "no memory for a path");
	const struct http_config c = {
		.listen_addr = h->config->listen_addr,
		.port = h->config->port,
		.cert_file = h->server_cert,
		.key_file = h->server_key,
		.client_ca_file = h->ca_cert,
		.ticket_file = tickets,
		.n_fronts = h->config->n_fronts,
		.n_workers = h->config->n_workers,
		.wants_stream = rest_wants_stream,
		.handle = rest_handle,
		.ws_path = LINK_PATH,
		.ws_protocol = LINK_PROTOCOL,
		.ws = &session_ws_ops,
		.is_revoked = certs_is_refused,
		.front_starts = session_front_starts,
		.front_ends = session_front_ends,
		.ws_max_message_bytes = LINK_FRAME_MAX,
		.ws_max_queue_bytes = 8 << 20,
		.ctx = h,
	};
	int rc = http_server_start(h->loop, &c, &h->http, e);

	if (rc < 0 && e->fault == FAULT_IN_USE)
		return err_set(e, FAULT_IN_USE, "port",
			       "Port %u is in use by another program. Stop that program, or choose another --port (0: any free one).",
			       h->config->port);
	return rc;
}

static int start(struct run *run, struct err *e)
{
	CLEANUP(free_charp) char *clouds = NULL;
	struct hub *h = &run->hub;
	int rc = setup_files(h, &run->setup, e);

	if (rc == 0)
		rc = open_store(h, &run->setup, e);
	if (rc == 0)
		rc = rest_new(h, hub_modules, hub_n_modules, h->config->n_workers, &h->rest, e);
	if (rc == 0)
		rc = certs_new(h, &h->certs, e);
	if (rc == 0)
		rc = streams_new(h, &h->streams, e);
	if (rc == 0)
		rc = sessions_new(h, &h->sessions, e);
	if (rc == 0)
		rc = listen_on_port(h, e);
	if (rc == 0)
		rc = setup_finish(h, &run->setup, http_server_port(h->http), &clouds, e);
	if (rc == 0)
		rc = certs_publish(h, e);
	if (rc < 0)
		return rc;
	log_info("hub_started", "version=%s port=%u url=%s data_dir=%s clouds_yaml=%s first_start=%s",
		 DEMARC_VERSION, http_server_port(h->http), h->public_url,
		 LOGQ(h->config->data_dir), LOGQ(clouds), run->setup.first ? "yes" : "no");
	return 0;
}

/* Reverse order of start(); each part takes NULL. */
static void finish(struct run *run)
{
	struct hub *h = &run->hub;

	/* A start that failed past the listening: the server still has to close its handles. */
	if (h->http && !run->stopping) {
		http_server_stop(h->http, 0, on_server_closed, h->loop);
		uv_run(h->loop, UV_RUN_DEFAULT);
	}
	http_server_free(h->http);
	/* Handles closed by the parts above get their last callbacks. */
	uv_run(h->loop, UV_RUN_DEFAULT);
	sessions_free(h->sessions);
	rest_free(h->rest);
	streams_free(h->streams);
	certs_free(h->certs);
	auth_free(h->auth);
	store_close(h->store);
	setup_done(h, &run->setup);
	uv_loop_close(h->loop);
}

/*
 * As many files as the system lets us have: each node is one. And memory for many small things that come and go: a few arenas,
 * whose free ends go back to the system.
 */
static void set_limits(void)
{
	struct rlimit files = { 0 };

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			log_warn("file_limit_kept", "limit=%llu", (unsigned long long)files.rlim_cur);
	}
	(void)mallopt(M_ARENA_MAX, MALLOC_ARENAS);
	(void)mallopt(M_TRIM_THRESHOLD, MALLOC_TRIM_BYTES);
	(void)mallopt(M_MMAP_THRESHOLD, MALLOC_MMAP_BYTES);
}

static int run_hub(const struct config *c)
{
	struct run run = { .hub.config = &c->hub, .setup.lock_fd = -1 };
	uv_loop_t loop;
	struct err e = { 0 };
	int rc;

	set_limits();
	uv_loop_init(&loop);
	run.hub.loop = &loop;
	rc = start(&run, &e);
	if (rc < 0) {
		log_error("hub_start_failed", "reason=%s", LOGQ(e.msg));
	} else {
		watch_signals(&run);
		uv_run(&loop, UV_RUN_DEFAULT);
		log_info("hub_stopped", "");
	}
	finish(&run);
	return rc < 0 ? EXIT_START_FAILED : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct config c = { 0 };
	struct err e = { 0 };
	int status = EXIT_SUCCESS;

	signal(SIGPIPE, SIG_IGN);
	if (config_read(argc, argv, &c, &e) < 0) {
		fprintf(stderr, "demarc-hub: %s\n", e.msg);
		return EXIT_USAGE_ERROR;
	}
	log_init("demarc-hub", c.log_level);
	if (c.help)
		config_usage(stdout);
	else if (c.version)
		printf("demarc-hub " DEMARC_VERSION "\n");
	else
		status = run_hub(&c);
	config_done(&c);
	return status;
}
