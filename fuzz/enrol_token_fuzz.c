/* SPDX-License-Identifier: Apache-2.0 */
/* What a person pastes: an enrolment token, a hub's URL. An accepted URL comes back from its own parts. */
#include "fuzz.h"

#include <string.h>

#include "link/token.h"
#include "link/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct enrol_token t;
	struct url u, again;
	struct err e = { 0 };
	char buf[272];

	if (enrol_token_parse(text, &t, &e) == 0)
		FUZZ_CHECK(strlen(t.ca_sha256) == 64 && *t.url && *t.secret);
	if (url_parse(text, &u, &e) < 0 && url_parse_authority(text, &u, &e) < 0) {
		FUZZ_CHECK(e.msg[0] != '\0');
		return 0;
	}
	FUZZ_CHECK(url_parse_authority(str_of(url_authority(&u, buf)), &again, &e) == 0);
	FUZZ_CHECK(strcmp(u.host, again.host) == 0 && strcmp(u.port, again.port) == 0 &&
		   u.is_ip == again.is_ip);
	return 0;
}
