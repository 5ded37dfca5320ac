/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client_impl.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/types.h"

/*
 * The ticket outlives the child that got it: the next one begins with it, in this process of the agent or in another. A ticket is of the CA,
 * certificate, key and hubs of its child; with others it would tell the hub that the node is who it no longer is, or be the word of a hub that
 * is not trusted any more.
 */

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
	memcpy(t.binding, l->child_binding, sizeof(t.binding));
	if (l->state == LINK_UP && client_ticket_keep(l, &t) == 0 && l->ops.ticket)
		l->ops.ticket(l->ctx, &l->ticket);
	return 0;
}

bool link_client_has_ticket(const struct link_client *l)
{
	return l->ticket.session.ptr && memcmp(l->ticket.binding, l->binding, LINK_BINDING_SIZE) == 0;
}

const struct link_ticket *link_client_ticket(const struct link_client *l)
{
	return l->ticket.session.ptr ? &l->ticket : NULL;
}

int client_child_started(struct link_client *l)
{
	memcpy(l->child_binding, l->binding, sizeof(l->binding));
	return link_client_has_ticket(l) ? l->carrier->tell(l, PIPE_TICKET, l->ticket.session) : 0;
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
