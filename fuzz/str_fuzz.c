/* SPDX-License-Identifier: Apache-2.0 */
/* Views stay inside what they came from; UTF-8 checked by a second, slower decoder. */
#include "fuzz.h"

#include "base/str.h"

/* RFC 3629 from the arithmetic instead of the grammar: decode, then refuse what is not minimal. */
static bool slow_utf8(const uint8_t *p, size_t size)
{
	static const uint32_t least[] = { 1, 0x80, 0x800, 0x10000 };

	for (size_t i = 0; i < size;) {
		unsigned n = p[i] < 0x80 ? 0 : p[i] >> 5 == 6 ? 1 : p[i] >> 4 == 14 ? 2 : 3;
		uint32_t c = n ? p[i] & (0x3fu >> n) : p[i];

		if (n == 3 && p[i] >> 3 != 30)
			return false;
		for (unsigned k = 1; k <= n; k++) {
			if (i + k >= size || p[i + k] >> 6 != 2)
				return false;
			c = c << 6 | (p[i + k] & 0x3f);
		}
		if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
		i += n + 1;
	}
	return true;
}

static void check_cut(struct str s)
{
	size_t total = 0, n = 0;
	struct str rest = s;

	while (rest.len) {
		struct str piece = str_cut(rest, ',', &rest);

		FUZZ_CHECK(str_trim(piece).len <= piece.len);
		total += piece.len;
		n++;
	}
	FUZZ_CHECK(total + n == s.len || total + n == s.len + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf b = { .limit_bytes = 100 };
	struct str s = { (const char *)data, size };
	char copy[16];

	FUZZ_CHECK(str_is_utf8(s) == slow_utf8(data, size));
	check_cut(s);
	FUZZ_CHECK((str_copy(copy, sizeof(copy), s) == 0) == (size < sizeof(copy)));
	strbuf_add(&b, data, size);
	strbuf_add(&b, data, size / 2);
	FUZZ_CHECK((b.error == 0) == (size + size / 2 <= 100));
	FUZZ_CHECK(str_starts(s, (struct str){ s.ptr, size / 2 }));
	FUZZ_CHECK(str_ends(s, (struct str){ s.ptr + size / 2, size - size / 2 }));
	return 0;
}
