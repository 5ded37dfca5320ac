/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the metadata service: what is accepted has a clean path, and cutting the input changes no verdict. */
#include "fuzz.h"

#include "node/httpreq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };
	struct httpreq req, again;
	int r = httpreq_parse(in, &req);

	FUZZ_CHECK(r <= (int)size && r > -506);
	if (r <= 0)
		return 0;
	FUZZ_CHECK(req.path[0] == '/' && !strstr(req.path, "/../") && !strstr(req.path, "//"));
	FUZZ_CHECK(httpreq_parse((struct str){ in.ptr, (size_t)r }, &again) == r);
	FUZZ_CHECK(httpreq_parse((struct str){ in.ptr, (size_t)r - 1 }, &again) == 0);
	return 0;
}
