/* SPDX-License-Identifier: Apache-2.0 */
/* Token text of a stranger is refused; a payload behind a good HMAC parses to bounded ids, and signs to a text that verifies. */
#include "fuzz.h"

#include <string.h>
#include <unistd.h>

#include "hub/identity/token.h"

static const struct token_keys *keys(void)
{
	static struct token_keys *k;
	char dir[] = "/tmp/demarc-fuzz-XXXXXX", path[64];
	struct err e = { 0 };

	if (k)
		return k;
	FUZZ_CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/keys", dir);
	FUZZ_CHECK(token_keys_open(path, 0, &k, &e) == 0);
	unlink(path);
	rmdir(dir);
	return k;
}

/* Two tokens are the same when they sign to the same text. */
static void same_token(const struct token *a, const struct token *b)
{
	char text_a[TOKEN_TEXT_SIZE], text_b[TOKEN_TEXT_SIZE];

	token_sign(keys(), a, text_a);
	token_sign(keys(), b, text_b);
	FUZZ_CHECK(strcmp(text_a, text_b) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token t, back;
	char text[TOKEN_TEXT_SIZE];
	struct err e = { 0 };

	FUZZ_CHECK(token_verify(keys(), (struct str){ (const char *)data, size }, 0, &t, &e) < 0);
	FUZZ_CHECK(e.fault == FAULT_UNAUTHENTICATED);
	if (token_payload_parse(data, size, &t) < 0)
		return 0;
	FUZZ_CHECK(strlen(t.user_id) > 0 && strlen(t.user_id) < TOKEN_ID_SIZE &&
		   strlen(t.scope_id) < TOKEN_ID_SIZE);
	token_sign(keys(), &t, text);
	FUZZ_CHECK(strlen(text) < TOKEN_TEXT_SIZE);
	if (token_verify(keys(), str_of(text), INT64_MIN, &back, &e) < 0)
		FUZZ_CHECK(t.expires_us == INT64_MIN);
	else
		same_token(&t, &back);
	return 0;
}
