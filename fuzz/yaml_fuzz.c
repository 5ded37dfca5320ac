/* SPDX-License-Identifier: Apache-2.0 */
/* What parses is a tree that JSON can carry. */
#include "fuzz.h"

#include "base/json.h"
#include "base/yaml_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(json_freep) json_t *a = NULL;
	CLEANUP(json_freep) json_t *b = NULL;
	CLEANUP(free_charp) char *text = NULL;
	struct err e = { 0 };

	if (yaml_parse((struct str){ (const char *)data, size }, &a, &e) < 0) {
		FUZZ_CHECK(e.msg[0] != '\0' && str_is_utf8(str_of(e.msg)));
		return 0;
	}
	text = json_text(a);
	FUZZ_CHECK(text && json_parse(str_of(text), &b, &e) == 0);
	FUZZ_CHECK(json_equal(a, b));
	return 0;
}
