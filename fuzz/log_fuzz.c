/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a peer's text holds, its quoted form is one printable line. */
#include "fuzz.h"

#include <string.h>

#include "base/log.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char quoted[LOG_QUOTE_SIZE], text[2048];
	size_t len;

	(void)str_copy(text, sizeof(text), (struct str){ (const char *)data, size });
	len = strlen(log_quote(text, quoted));
	FUZZ_CHECK(len >= 2 && len < sizeof(quoted));
	FUZZ_CHECK(quoted[0] == '"' && quoted[len - 1] == '"');
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK((unsigned char)quoted[i] >= 0x20 && quoted[i] != 0x7f);
	return 0;
}
