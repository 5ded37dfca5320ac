/* SPDX-License-Identifier: Apache-2.0 */
#include "link/url.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "link/enrol_answer.h"
#include "link/identity.h"
#include "link/intent_parts.h"
#include "link/pipe_msg.h"
#include "link/token.h"

/* URLs, tokens, answers to an enrolment, messages of the socketpair, split intents. */

static void good_urls(void **state)
{
	static const struct {
		const char *text, *host, *port, *authority;
		bool is_ip;
	} rows[] = {
		{ "https://hub.example:8443", "hub.example", "8443", "hub.example:8443", false },
		{ "https://hub.example/", "hub.example", "443", "hub.example:443", false },
		{ "https://192.0.2.1:1", "192.0.2.1", "1", "192.0.2.1:1", true },
		{ "https://[2001:db8::1]:65535", "2001:db8::1", "65535", "[2001:db8::1]:65535", true },
		{ "https://[2001:db8::1]", "2001:db8::1", "443", "[2001:db8::1]:443", true },
	};
	char buf[272];
	struct url u;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(url_parse(str_of(rows[i].text), &u, NULL), 0);
		assert_string_equal(u.host, rows[i].host);
		assert_string_equal(u.port, rows[i].port);
		assert_int_equal(u.is_ip, rows[i].is_ip);
		assert_string_equal(url_authority(&u, buf), rows[i].authority);
	}
	assert_int_equal(url_parse_authority(STR("proxy:3128"), &u, NULL), 0);
	assert_string_equal(u.port, "3128");
}

static void bad_urls(void **state)
{
	static const char *const rows[] = {
		"",
		"http://hub.example",
		"https://",
		"https://:8443",
		"https://hub:0",
		"https://hub:65536",
		"https://hub:",
		"https://hub:8443/path",
		"https://user@hub",
		"https://hub\r\nX: y",
		"https://[::1",
		"https://[hub]:1",
		"https://[::1]x",
		"https://[::1]:",
		"https://ho st",
	};
	struct url u;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (url_parse(str_of(rows[i]), &u, &e) != -EINVAL)
			fail_msg("accepted: %s", rows[i]);
	assert_int_equal(url_parse_authority(STR("proxy"), &u, &e), -EINVAL);
}

/* {"url":"https://h:1","ca_sha256":"00…00","secret":"s?>ÿ"} */
static const char token_text[] =
	"demarc1.eyJ1cmwiOiJodHRwczovL2g6MSIsImNhX3NoYTI1NiI6IjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAiLCJzZWNyZXQiOiJzPz7DvyJ9";

static void tokens(void **state)
{
	struct enrol_token t;
	char cut[sizeof(token_text)];

	(void)state;
	assert_int_equal(enrol_token_parse(str_of(token_text), &t, NULL), 0);
	assert_string_equal(t.url, "https://h:1");
	assert_string_equal(t.secret, "s?>\xc3\xbf");
	assert_int_equal(strlen(t.ca_sha256), 64);
	for (size_t n = 0; n + 1 < strlen(token_text); n++) {
		memcpy(cut, token_text, n);
		cut[n] = '\0';
		assert_int_equal(enrol_token_parse(str_of(cut), &t, NULL), -EINVAL);
	}
	assert_int_equal(enrol_token_parse(STR("demarc2.e30"), &t, NULL), -EINVAL);
	assert_int_equal(enrol_token_parse(STR("demarc1.e30"), &t, NULL), -EINVAL);
	assert_int_equal(enrol_token_parse(STR("demarc1.e3+0"), &t, NULL), -EINVAL);
}

static void pipe_messages(void **state)
{
	struct strbuf all = { 0 }, in = { 0 };
	struct pipe_head h;
	struct str payload;
	unsigned n = 0;
	size_t at = 0;

	(void)state;
	pipe_msg_add(&all, PIPE_UP, 7, STR(""));
	pipe_msg_add(&all, PIPE_FRAME, 8, STR("hello"));
	for (size_t i = 0; i < all.len; i++) {
		strbuf_add(&in, all.ptr + i, 1);
		while (pipe_msg_next(&in, &at, &h, &payload) == 1) {
			assert_int_equal(h.gen, 7 + n);
			assert_true(str_eq_c(payload, n ? "hello" : ""));
			n++;
		}
		pipe_buf_consume(&in, at);
		at = 0;
	}
	assert_int_equal(n, 2);
	assert_int_equal(in.len, 0);
	h = (struct pipe_head){ .size = PIPE_SIZE_MAX + 1 };
	strbuf_add(&in, &h, sizeof(h));
	assert_int_equal(pipe_msg_next(&in, &at, &h, &payload), -EPROTO);
	strbuf_done(&in);
	strbuf_done(&all);
}

/* ---- intents in parts ---- */

static Demarc__V1__Frame *part(uint64_t revision, bool more, const char *id)
{
	Demarc__V1__Object o = DEMARC__V1__OBJECT__INIT, *objects[] = { &o };
	Demarc__V1__Intent intent = DEMARC__V1__INTENT__INIT;
	Demarc__V1__Frame f = DEMARC__V1__FRAME__INIT, *ret = NULL;
	uint8_t *data;
	size_t size;

	o.id = (char *)id;
	intent.revision = revision;
	intent.more = more;
	intent.objects = objects;
	intent.n_objects = 1;
	f.body_case = DEMARC__V1__FRAME__BODY_INTENT;
	f.intent = &intent;
	assert_int_equal(frame_encode(&f, &data, &size), 0);
	assert_int_equal(frame_decode(FRAME_FROM_HUB, data, size, &ret, NULL), 0);
	free(data);
	return ret;
}

static void parts_become_one(void **state)
{
	struct intent_parts p = { 0 };
	Demarc__V1__Frame *whole = NULL, *f = part(5, true, "a");

	(void)state;
	assert_int_equal(intent_parts_add(&p, &f, &whole), 0);
	assert_null(f);
	f = part(5, true, "b");
	assert_int_equal(intent_parts_add(&p, &f, &whole), 0);
	f = part(5, false, "c");
	assert_int_equal(intent_parts_add(&p, &f, &whole), 1);
	assert_int_equal(whole->intent->n_objects, 3);
	assert_string_equal(whole->intent->objects[0]->id, "a");
	assert_string_equal(whole->intent->objects[2]->id, "c");
	assert_false(whole->intent->more);
	frame_free(whole);
	f = part(6, false, "d");
	assert_int_equal(intent_parts_add(&p, &f, &whole), 1);
	assert_int_equal(whole->intent->n_objects, 1);
	frame_free(whole);
}

static void parts_that_contradict(void **state)
{
	struct intent_parts p = { 0 };
	Demarc__V1__Frame *whole = NULL, *f = part(5, true, "a");

	(void)state;
	assert_int_equal(intent_parts_add(&p, &f, &whole), 0);
	f = part(6, false, "b");
	assert_int_equal(intent_parts_add(&p, &f, &whole), -EPROTO);
	assert_null(p.whole);
	assert_null(whole);
}

static void parts_without_end(void **state)
{
	static char id[900000];
	struct intent_parts p = { 0 };
	Demarc__V1__Frame *whole = NULL, *f;
	size_t n = 0;
	int rc;

	(void)state;
	memset(id, 'a', sizeof(id) - 1);
	do {
		f = part(5, true, id);
		rc = intent_parts_add(&p, &f, &whole);
		n++;
	} while (rc == 0 && n < 1000);
	assert_int_equal(rc, -EMSGSIZE);
	assert_int_equal(n, INTENT_PARTS_BYTES_MAX / sizeof(id) + 1);
	assert_true(!p.whole && !whole && p.n_bytes == 0);
	/* What went before does not count for the next one. */
	f = part(6, true, "b");
	assert_int_equal(intent_parts_add(&p, &f, &whole), 0);
	f = part(6, false, "c");
	assert_int_equal(intent_parts_add(&p, &f, &whole), 1);
	frame_free(whole);
}

static void answers_to_an_enrolment(void **state)
{
	static const struct {
		const char *text;
		enum fault fault;
		const char *message;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\n", FAULT_PROTOCOL, "cut or not HTTP" },
		{ "220 mail ESMTP\r\n\r\n", FAULT_PROTOCOL, "cut or not HTTP" },
		{ "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", FAULT_PROTOCOL, "is not JSON" },
		{ "HTTP/1.1 403 Forbidden\r\n\r\n{\"error\": {\"message\": \"expired\"}}",
		  FAULT_FORBIDDEN, "(403): expired" },
	};
	struct err e;
	json_t *o = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		e = (struct err){ 0 };
		assert_true(enrol_answer_parse(str_of(rows[i].text), &o, &e) < 0);
		assert_int_equal(e.fault, rows[i].fault);
		assert_non_null(strstr(e.msg, rows[i].message));
	}
	/* A hub that closes without a word: nothing was ever allocated for it. */
	assert_true(enrol_answer_parse((struct str){ 0 }, &o, &e) < 0);
	assert_int_equal(e.fault, FAULT_PROTOCOL);
	assert_null(o);
}

static void hubs_of_an_enrolment(void **state)
{
	json_t *o = json_object(), *list = json_array(), *hubs;

	(void)state;
	json_array_append_new(list, json_string("https://a:1"));
	json_array_append_new(list, json_string("not a URL"));
	json_array_append_new(list, json_integer(5));
	for (int i = 0; i < 2 * IDENTITY_HUBS_MAX; i++)
		json_array_append_new(list, json_sprintf("https://h%d:1", i));
	json_object_set_new(o, "hub_urls", list);
	hubs = enrol_answer_hubs(o, "https://a:1");
	assert_int_equal(json_array_size(hubs), IDENTITY_HUBS_MAX);
	assert_string_equal(json_string_value(json_array_get(hubs, 0)), "https://a:1");
	assert_string_equal(json_string_value(json_array_get(hubs, 1)), "https://h0:1");
	json_decref(hubs);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_urls),
		cmocka_unit_test(bad_urls),
		cmocka_unit_test(tokens),
		cmocka_unit_test(pipe_messages),
		cmocka_unit_test(parts_become_one),
		cmocka_unit_test(parts_that_contradict),
		cmocka_unit_test(parts_without_end),
		cmocka_unit_test(answers_to_an_enrolment),
		cmocka_unit_test(hubs_of_an_enrolment),
	};

	return cmocka_run_group_tests_name("link-parse", tests, NULL, NULL);
}
