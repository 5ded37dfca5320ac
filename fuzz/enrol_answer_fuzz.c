/* SPDX-License-Identifier: Apache-2.0 */
/* What answers an enrolment. Whatever is taken names hubs that can be dialled. */
#include "fuzz.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "link/enrol_answer.h"
#include "link/identity.h"
#include "link/url.h"

#define HUB "https://hub.example:8443"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(json_freep) json_t *answer = NULL, *hubs = NULL;
	struct err e = { 0 };
	json_t *v;
	size_t i;
	struct url u;

	if (enrol_answer_parse((struct str){ size ? (const char *)data : NULL, size }, &answer, &e) < 0) {
		FUZZ_CHECK(e.msg[0] != '\0');
		return 0;
	}
	hubs = enrol_answer_hubs(answer, HUB);
	FUZZ_CHECK(json_array_size(hubs) > 0 && json_array_size(hubs) <= IDENTITY_HUBS_MAX);
	FUZZ_CHECK(strcmp(json_string_value(json_array_get(hubs, 0)), HUB) == 0);
	json_array_foreach(hubs, i, v)
		FUZZ_CHECK(url_parse(str_of(json_string_value(v)), &u, NULL) == 0);
	return 0;
}
