/* SPDX-License-Identifier: Apache-2.0 */
#include "http/impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/socket.h>

#include "http/tls.h"

/* The node channel: upgrade, messages, close. Source: RFC 6455. Front's thread. */

#define CLOSE_MS 5000 /* for our close frame to leave when the peer reads slowly */
#define KEY_LEN 24    /* base64 of 16 bytes */
#define UNSENT_MAX                                                                                 \
	(64 << 10) /* bytes in the kernel that TCP has not sent: what comes next waits behind them */

static bool queue_is_full(const struct conn *c, size_t more)
{
	return c->out.len - c->out_off + more > c->server->c.ws_max_queue_bytes;
}

/* Section 4.2.2: base64(SHA-1(key + GUID)). */
static void accept_key(struct str key, char ret[static 29])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[KEY_LEN + sizeof(guid)];
	unsigned char digest[SHA_DIGEST_LENGTH];

	memcpy(text, key.ptr, KEY_LEN);
	memcpy(text + KEY_LEN, guid, sizeof(guid) - 1);
	SHA1((unsigned char *)text, KEY_LEN + sizeof(guid) - 1, digest);
	EVP_EncodeBlock((unsigned char *)ret, digest, sizeof(digest));
}

static struct str field(const struct http_head *h, const char *name)
{
	return http_field_find(h->fields, h->n_fields, name);
}

/* True when the request may become a WebSocket; else it has been answered. */
static bool check_upgrade(struct conn *c, const struct http_head *h)
{
	const char *protocol = c->server->c.ws_protocol;

	if (!c->has_cert)
		reply_error(c, 403, "a client certificate is required here");
	else if (SSL_version(c->ssl) < TLS1_3_VERSION)
		reply_error(c, 403, "TLS 1.3 is required here");
	else if (h->method != HTTP_GET || h->minor == 0 || !h->upgrade ||
		 !http_list_has(field(h, "upgrade"), "websocket"))
		reply_error_with(c, 426, "this path speaks WebSocket only", "Upgrade: websocket");
	else if (!str_eq_c(field(h, "sec-websocket-version"), "13"))
		reply_error_with(c, 426, "WebSocket version 13 is spoken here",
				 "Sec-WebSocket-Version: 13");
	else if (field(h, "sec-websocket-key").len != KEY_LEN || h->length || h->chunked)
		reply_error(c, 400, "the WebSocket handshake is malformed");
	else if (protocol && !http_list_has(field(h, "sec-websocket-protocol"), protocol))
		reply_error(c, 400, "none of the offered WebSocket protocols is spoken here");
	else
		return true;
	return false;
}

void ws_upgrade(struct conn *c, const struct http_head *h, size_t head_size)
{
	const struct http_config *cfg = &c->server->c;
	char key[29];

	if (!check_upgrade(c, h))
		return;
	accept_key(field(h, "sec-websocket-key"), key);
	strbuf_addf(&c->out,
		    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		    "Sec-WebSocket-Accept: %s\r\n",
		    key);
	if (cfg->ws_protocol)
		strbuf_addf(&c->out, "Sec-WebSocket-Protocol: %s\r\n", cfg->ws_protocol);
	strbuf_adds(&c->out, "\r\n");
	conn_consume(c, head_size);
	c->state = CONN_WS;
	c->ws.conn = c;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){ UNSENT_MAX }, sizeof(int));
	ws_reader_init(&c->ws.reader, cfg->ws_max_message_bytes);
	conn_set_deadline(c, cfg->ws_ping_ms);
	c->ws.opened = cfg->ws->open(cfg->ctx, &c->ws, str_of(c->cn), str_of(c->peer), &c->ws.user) >= 0;
	if (!c->ws.opened)
		ws_start_close(c, WS_POLICY, "refused");
}

void ws_start_close(struct conn *c, enum ws_code code, const char *reason)
{
	char payload[WS_CONTROL_MAX] = { (char)((unsigned)code >> 8), (char)((unsigned)code & 0xff) };

	if (c->ws.close_sent || c->state != CONN_WS)
		return;
	c->ws.close_sent = true;
	str_copy(payload + 2, sizeof(payload) - 2, str_of(reason));
	ws_frame_add(&c->out, WS_CLOSE, payload, 2 + strlen(payload + 2));
	conn_finish(c);
	conn_set_deadline(c, CLOSE_MS);
}

static void on_message(struct conn *c, struct str data)
{
	const struct http_config *cfg = &c->server->c;

	if (cfg->ws->message(cfg->ctx, &c->ws, c->ws.user, data.ptr, data.len) < 0)
		ws_start_close(c, WS_POLICY, "message refused");
}

static void on_ping(struct conn *c, struct str data)
{
	/* Somebody who pings and never reads must not fill our memory, nor would it read a goodbye. */
	if (queue_is_full(c, data.len + WS_HEADER_MAX))
		conn_drop(c);
	else
		ws_frame_add(&c->out, WS_PONG, data.ptr, data.len);
}

void ws_input(struct conn *c)
{
	enum ws_event ev = WS_EV_PONG;

	while (c->state == CONN_WS && ev != WS_EV_MORE && !c->turn_in) {
		struct str in = conn_input(c), payload = { 0 };
		size_t offered = in.len;
		enum ws_code code = WS_NORMAL;
		ev = ws_reader_next(&c->ws.reader, &in, &payload, &code);
		conn_consume(c, offered - in.len);
		switch (ev) {
		case WS_EV_MESSAGE:
			on_message(c, payload);
			break;
		case WS_EV_PING:
			on_ping(c, payload);
			break;
		case WS_EV_CLOSE:
			ws_start_close(c, WS_NORMAL, "");
			break;
		case WS_EV_ERROR:
			ws_start_close(c, code, "");
			break;
		case WS_EV_PONG:
		case WS_EV_MORE:
			break;
		}
		if (c->state == CONN_WS && in.len && turn_is_over(c))
			turn_leave(c);
	}
}

/* A node behind a NAT that forgot it looks alive to TCP for a quarter of an hour. */
void ws_timeout(struct conn *c)
{
	unsigned ping_ms = c->server->c.ws_ping_ms;
	uint64_t silent_ms = uv_now(c->front->loop) - c->last_rx_ms;

	if (silent_ms >= 3ULL * ping_ms) {
		conn_drop(c);
		return;
	}
	if (silent_ms >= ping_ms && !queue_is_full(c, WS_HEADER_MAX))
		ws_frame_add(&c->out, WS_PING, "", 0);
	conn_set_deadline(c, ping_ms);
}

void ws_flushed(struct conn *c)
{
	const struct http_config *cfg = &c->server->c;

	if (!c->ws.wants_room)
		return;
	c->ws.wants_room = false;
	if (c->ws.opened && cfg->ws->room)
		cfg->ws->room(cfg->ctx, &c->ws, c->ws.user);
}

void ws_done(struct conn *c)
{
	const struct http_config *cfg = &c->server->c;

	c->ws.conn = NULL;
	ws_reader_done(&c->ws.reader);
	if (c->ws.opened)
		cfg->ws->close(cfg->ctx, &c->ws, c->ws.user);
}

int http_ws_send(struct http_ws *ws, const void *data, size_t size)
{
	struct conn *c = ws->conn;

	if (!c || c->state != CONN_WS)
		return -ENOTCONN;
	if (queue_is_full(c, size + ws_frame_overhead(size)))
		return -ENOBUFS;
	ws_frame_add(&c->out, WS_BINARY, data, size);
	ws->wants_room = true;
	/* Not sent here: the caller may be in the middle of its own data, and losing the connection calls it back. */
	conn_arm(c);
	return 0;
}

size_t http_ws_queued_bytes(const struct http_ws *ws)
{
	return ws->conn ? ws->conn->out.len - ws->conn->out_off : 0;
}

double http_ws_strain(const struct http_ws *ws)
{
	return lag_strain(&ws->conn->front->lag);
}

unsigned http_ws_front(const struct http_ws *ws)
{
	return ws->conn->front->index;
}

bool http_ws_client_serial(const struct http_ws *ws, char *ret, size_t size)
{
	return tls_client_serial(ws->conn->ssl, ret, size);
}

bool http_ws_resumed(const struct http_ws *ws)
{
	return SSL_session_reused(ws->conn->ssl) == 1;
}

void http_ws_close(struct http_ws *ws, uint16_t code, const char *reason)
{
	if (!ws->conn)
		return;
	ws_start_close(ws->conn, (enum ws_code)code, reason ? reason : "");
	conn_arm(ws->conn);
}
