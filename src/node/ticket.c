/* SPDX-License-Identifier: Apache-2.0 */
#include "node/ticket.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "node/node.h"

#define MAGIC "demarc-ticket 2"
#define SUM_SIZE 32

/* ---- text ---- */

static void sum_of(struct str head, struct str session, uint8_t ret[static SUM_SIZE])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned n = 0;

	memset(ret, 0, SUM_SIZE);
	if (md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(md, head.ptr, head.len) == 1 &&
	    EVP_DigestUpdate(md, session.ptr, session.len) == 1)
		(void)EVP_DigestFinal_ex(md, ret, &n);
	EVP_MD_CTX_free(md);
}

void ticket_text(const struct link_ticket *t, int64_t made_s, struct strbuf *b)
{
	char hex[2 * SUM_SIZE + 1];
	uint8_t sum[SUM_SIZE];

	hex_of(t->binding, sizeof(t->binding), hex);
	strbuf_addf(b, MAGIC " %lld %lld %s ", (long long)made_s,
		    (long long)MAX_OF((clock_mono_ns() - t->full_ns) / NS_PER_S, 0), hex);
	sum_of((struct str){ b->ptr, b->len }, t->session, sum);
	hex_of(sum, sizeof(sum), hex);
	strbuf_addf(b, "%s\n", hex);
	strbuf_add(b, t->session.ptr, t->session.len);
}

int ticket_parse(struct str text, int64_t now_s, struct link_ticket *ret, int64_t *ret_made_s)
{
	struct link_ticket t = { .resumed = true };
	uint8_t sum[SUM_SIZE], wanted[SUM_SIZE];
	struct str line = str_cut(text, '\n', &t.session), rest = line, made, age, binding;
	uint64_t made_s, age_s;

	if (!str_starts(line, STR(MAGIC " ")) || t.session.len == 0 || t.session.len > LINK_TICKET_MAX)
		return -EINVAL;
	rest = (struct str){ rest.ptr + strlen(MAGIC " "), rest.len - strlen(MAGIC " ") };
	made = str_cut(rest, ' ', &rest);
	age = str_cut(rest, ' ', &rest);
	binding = str_cut(rest, ' ', &rest);
	if (rest.len != 2 * SUM_SIZE)
		return -EINVAL;
	sum_of((struct str){ line.ptr, (size_t)(rest.ptr - line.ptr) }, t.session, wanted);
	if (str_to_u64(made, INT64_MAX, &made_s) < 0 || str_to_u64(age, INT32_MAX, &age_s) < 0 ||
	    str_from_hex(binding, t.binding, sizeof(t.binding)) < 0 ||
	    str_from_hex(rest, sum, sizeof(sum)) < 0 || memcmp(sum, wanted, sizeof(sum)) != 0)
		return -EINVAL;
	age_s += (uint64_t)MAX_OF(now_s - (int64_t)made_s, 0);
	if (now_s - (int64_t)made_s >= LINK_TICKET_LIFE_S || age_s >= LINK_FULL_S)
		return -ESTALE;
	t.full_ns = clock_mono_ns() - (int64_t)age_s * NS_PER_S;
	*ret = t;
	*ret_made_s = (int64_t)made_s;
	return 0;
}

/* ---- when ---- */

bool ticket_is_due(const struct ticket_file *f, const struct link_ticket *t, int64_t now_s)
{
	if (!f->is_there || memcmp(f->binding, t->binding, sizeof(t->binding)) != 0)
		return true;
	/* After a full handshake: the hub did not take the one that there is. */
	return !t->resumed || now_s - f->made_s >= TICKET_FRESH_S;
}

/* ---- the file ---- */

static int path_of(const struct node *n, char ret[static PATH_MAX])
{
	return snprintf(ret, PATH_MAX, "%s/ticket", n->cfg.state_dir) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static void write_file(struct node *n, const struct link_ticket *t)
{
	struct strbuf b = { 0 };
	char path[PATH_MAX];
	struct err e = { 0 };
	int64_t now_s = clock_wall_us() / 1000000;
	int rc = path_of(n, path);

	n->ticket.waits = false;
	n->ticket.wrote_ns = clock_mono_ns();
	ticket_text(t, now_s, &b);
	if (rc == 0 && b.error == 0)
		rc = file_write_atomic(path, 0600, (struct str){ b.ptr, b.len }, &e);
	if (b.ptr)
		explicit_bzero(b.ptr, b.len);
	if (rc < 0 || b.error) {
		log_debug("ticket_not_stored", "reason=%s", LOGQ(e.msg));
	} else {
		n->ticket.is_there = true;
		n->ticket.made_s = now_s;
		memcpy(n->ticket.binding, t->binding, sizeof(t->binding));
	}
	strbuf_done(&b);
}

bool ticket_read(struct node *n, char **ret_text, struct link_ticket *ret)
{
	char path[PATH_MAX];
	struct err e = { 0 };
	size_t size = 0;
	int rc = path_of(n, path);

	if (rc == 0)
		rc = file_read(path, TICKET_TEXT_MAX, ret_text, &size, &e);
	if (rc < 0) {
		log_debug("ticket_not_read", "reason=%s", LOGQ(e.msg));
		return false;
	}
	rc = ticket_parse((struct str){ *ret_text, size }, clock_wall_us() / 1000000, ret,
			  &n->ticket.made_s);
	if (rc < 0) {
		log_debug("ticket_dropped", "reason=\"%s\"", rc == -ESTALE ? "too old" : "damaged");
		explicit_bzero(*ret_text, size);
		free(MOVE_PTR(*ret_text));
		return false;
	}
	n->ticket.is_there = true;
	memcpy(n->ticket.binding, ret->binding, sizeof(ret->binding));
	return true;
}

static bool may_write(const struct ticket_file *f)
{
	return f->wrote_ns == 0 || clock_mono_ns() - f->wrote_ns >= TICKET_PAUSE_S * NS_PER_S;
}

void ticket_came(struct node *n, const struct link_ticket *t)
{
	if (!ticket_is_due(&n->ticket, t, clock_wall_us() / 1000000))
		return;
	if (may_write(&n->ticket))
		write_file(n, t);
	else
		n->ticket.waits = true;
}

void ticket_tick(struct node *n)
{
	const struct link_ticket *t = n->link ? link_client_ticket(n->link) : NULL;

	if (n->ticket.waits && t && may_write(&n->ticket))
		write_file(n, t);
}
