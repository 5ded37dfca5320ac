/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client_impl.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/types.h"

/*
 * The ticket outlives the child that got it: the next one begins with it, in this process of the agent or in another. A ticket is of the CA,
 * certificate, key and hubs of its child; with others it would tell the hub that the node is who it no longer is, or be the word of a hub that
 * is not trusted any more.
 */

#define FULL_SPREAD_NS (24 * 3600 * NS_PER_S)
#define FULL_RETRY_NS (3600 * NS_PER_S) /* to twice that */

static char *bytes_of(const struct link_client *l)
{
	return (char *)(uintptr_t)l->ticket.session.ptr;
}

void client_ticket_clear(struct link_client *l)
{
	if (bytes_of(l))
		explicit_bzero(bytes_of(l), l->ticket.session.len);
	free(bytes_of(l));
	l->ticket.session = (struct str){ 0 };
}

int client_ticket_keep(struct link_client *l, const struct link_ticket *t)
{
	char *copy = malloc(t->session.len);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, t->session.ptr, t->session.len);
	client_ticket_clear(l);
	l->ticket = *t;
	l->ticket.session.ptr = copy;
	return 0;
}

/* What is in it is not looked at here: a child that an attacker owns could say anything, and spoils the beginning of the next one. */
int client_ticket_take(struct link_client *l, struct str payload)
{
	struct link_ticket t = { .resumed = payload.len && payload.ptr[0] == PIPE_RESUMED };

	if (payload.len < 2 || payload.len - 1 > LINK_TICKET_MAX ||
	    (!t.resumed && payload.ptr[0] != PIPE_SHAKEN))
		return -EPROTO;
	t.session = (struct str){ payload.ptr + 1, payload.len - 1 };
	t.full_ns = l->full_ns;
	memcpy(t.binding, l->child_binding, sizeof(t.binding));
	if (l->state == LINK_UP && client_ticket_keep(l, &t) == 0 && l->ops.ticket)
		l->ops.ticket(l->ctx, &l->ticket);
	return 0;
}

static int64_t random_below(int64_t n)
{
	uint64_t random;

	random_bytes(&random, sizeof(random));
	return n > 0 ? (int64_t)(random % (uint64_t)n) : 0;
}

/*
 * When the next full handshake is due. That there was one is known by what this process did, a child without a ticket that came up, and not by a
 * child's word; its time is of the monotonic clock, whatever becomes of the other. What began before this process may be late already: it is
 * spread all the same.
 */
static void full_plan(struct link_client *l, int64_t full_ns)
{
	int64_t last = full_ns + LINK_FULL_S * NS_PER_S;
	int64_t first = MAX_OF(clock_mono_ns(), last - FULL_SPREAD_NS);

	l->full_ns = full_ns;
	l->full_due_ns = first + random_below(last - first);
}

static bool is_over(int64_t full_ns)
{
	return clock_mono_ns() - full_ns >= LINK_FULL_S * NS_PER_S;
}

bool link_client_has_ticket(const struct link_client *l)
{
	return l->ticket.session.ptr && !is_over(l->ticket.full_ns) &&
	       memcmp(l->ticket.binding, l->binding, LINK_BINDING_SIZE) == 0;
}

const struct link_ticket *link_client_ticket(const struct link_client *l)
{
	return l->ticket.session.ptr ? &l->ticket : NULL;
}

int client_child_started(struct link_client *l)
{
	memcpy(l->child_binding, l->binding, sizeof(l->binding));
	l->fresh_child = l->doing_full || !link_client_has_ticket(l);
	if (l->fresh_child)
		return 0;
	if (!l->full_due_ns || l->full_ns != l->ticket.full_ns)
		full_plan(l, l->ticket.full_ns);
	return l->carrier->tell(l, PIPE_TICKET, l->ticket.session);
}

void client_full_up(struct link_client *l)
{
	if (!l->fresh_child)
		return;
	l->fresh_child = l->doing_full = false;
	full_plan(l, clock_mono_ns());
}

/* Refused by a hub that is busy, or no way to it: until the week is over, the ticket goes on. */
void client_full_lost(struct link_client *l)
{
	if (!l->doing_full || !l->fresh_child || is_over(l->full_ns))
		return;
	l->doing_full = false;
	l->full_due_ns = clock_mono_ns() + FULL_RETRY_NS + random_below(FULL_RETRY_NS);
	l->carrier->kill(l);
}

bool client_full_begins(struct link_client *l)
{
	bool can_wait = !is_over(l->full_ns) &&
			(!l->said_hello || (l->ops.busy && l->ops.busy(l->ctx)));

	if (!l->full_due_ns || l->fresh_child || l->doing_full || can_wait ||
	    clock_mono_ns() < l->full_due_ns)
		return false;
	l->doing_full = true;
	return true;
}

/* Each with its length, so that no two differ and read the same. */
static void add_text(struct strbuf *b, const char *text)
{
	strbuf_addf(b, "%zu %s\n", strlen(text), text);
}

void client_bind(struct link_client *l, const json_t *config)
{
	static const char *const keys[] = { "ca", "cert", "key" };
	CLEANUP(strbuf_done) struct strbuf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		add_text(&b, json_str(config, keys[i]));
	for (size_t i = 0; i < l->n_hubs; i++)
		add_text(&b, l->hubs[i]);
	SHA256((const unsigned char *)b.ptr, b.len, l->binding);
	if (b.ptr)
		explicit_bzero(b.ptr, b.len);
}
