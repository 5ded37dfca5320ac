/* SPDX-License-Identifier: Apache-2.0 */
/* Texts inside compute's and image's bodies: SSH public keys, probes, times. What is taken has the form it promises. */
#include "fuzz.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/compute/input.h"
#include "hub/compute/keypair.h"
#include "hub/compute/probe.h"

static void check_key(const char *text)
{
	char fp[KEYPAIR_FINGERPRINT_SIZE] = "";
	struct err e = { 0 };

	if (keypair_fingerprint(text, fp, &e) < 0)
		FUZZ_CHECK(e.fault == FAULT_BAD_REQUEST && e.msg[0]);
	else
		FUZZ_CHECK(strlen(fp) == KEYPAIR_FINGERPRINT_SIZE - 1 && fp[2] == ':');
}

static void check_probe(const char *text)
{
	CLEANUP(json_freep) json_t *props = json_object();
	struct err e = { 0 };

	/* Text that is not UTF-8 never becomes a JSON string. */
	if (json_object_set_new(props, "demarc:probe", json_string(text)) < 0)
		return;
	if (probe_check(props, &e) < 0)
		FUZZ_CHECK(e.fault == FAULT_BAD_REQUEST && e.msg[0]);
	else
		FUZZ_CHECK(strcmp(text, "process") == 0 || strncmp(text, "tcp:", 4) == 0 ||
			   strncmp(text, "exec:", 5) == 0);
}

static void check_time(const char *text)
{
	char back[TIME_STR_SIZE];
	int64_t us = 0, again = 0;

	if (input_time(text, &us) < 0 || us < 0 || us > 253402300799000000)
		return; /* outside the years 1970 to 9999 nothing is shown */
	time_format_us(us, back);
	FUZZ_CHECK(input_time(back, &again) == 0 && again == us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(free_charp) char *text = strndup((const char *)data, size);

	FUZZ_CHECK(text);
	check_key(text);
	check_probe(text);
	check_time(text);
	return 0;
}
