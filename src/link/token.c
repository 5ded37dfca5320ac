/* SPDX-License-Identifier: Apache-2.0 */
#include "link/token.h"

#include <openssl/evp.h>

#include "base/json.h"

#define PREFIX STR("demarc1.")

/* To the alphabet of RFC 4648 section 4, padded: what the library decodes. Returns the decoded size or -1. */
static int decode(struct str in, char out[static TOKEN_TEXT_MAX])
{
	char text[TOKEN_TEXT_MAX + 4];
	size_t n = 0;
	int size;

	if (in.len == 0 || in.len > TOKEN_TEXT_MAX || in.len % 4 == 1)
		return -1;
	for (; n < in.len; n++) {
		char c = in.ptr[n];
		if (c == '+' || c == '/' || c == '=' || c == '\n')
			return -1;
		text[n] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (n % 4)
		text[n++] = '=';
	size = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
	return size < 0 ? -1 : size - (int)(n - in.len);
}

static int take(const json_t *o, const char *key, char *ret, size_t size)
{
	const char *value = json_str(o, key);

	return value && *value ? str_copy(ret, size, str_of(value)) : -1;
}

int enrol_token_parse(struct str text, struct enrol_token *ret, struct err *e)
{
	CLEANUP(json_freep) json_t *o = NULL;
	struct enrol_token t = { 0 };
	char json[TOKEN_TEXT_MAX];
	unsigned char sum[32];
	int size = -1;

	text = str_trim(text);
	if (str_starts(text, STR("https://")))
		(void)str_cut(text, '#', &text);
	if (str_starts(text, PREFIX))
		size = decode((struct str){ text.ptr + PREFIX.len, text.len - PREFIX.len }, json);
	if (size < 0 || json_parse((struct str){ json, (size_t)size }, &o, NULL) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "token", "this is not a whole enrolment token");
	if (take(o, "url", t.url, sizeof(t.url)) < 0 ||
	    take(o, "secret", t.secret, sizeof(t.secret)) < 0 ||
	    take(o, "ca_sha256", t.ca_sha256, sizeof(t.ca_sha256)) < 0 ||
	    str_from_hex(str_of(t.ca_sha256), sum, sizeof(sum)) < 0)
		return err_set(e, FAULT_BAD_REQUEST, "token",
			       "the enrolment token lacks what it must say");
	*ret = t;
	return 0;
}
