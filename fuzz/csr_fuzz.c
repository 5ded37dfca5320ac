/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate request of a node, as text or (first byte other than 0) as the DER that the text would hold. What the request says is refused with
 * a reason, or it gets as far as the CA, which is not there; nothing is left in OpenSSL's queue for who comes next.
 */
#include "fuzz.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "http/pki.h"

static void sign(struct str pem)
{
	CLEANUP(free_charp) char *cert = NULL;
	char serial[48];
	struct err e = { 0 };

	FUZZ_CHECK(pki_sign_client("/nonexistent/ca.crt", "/nonexistent/ca.key", pem, "node", 30,
				   &cert, serial, &e) < 0);
	FUZZ_CHECK(e.msg[0] != '\0' && !cert);
	FUZZ_CHECK(ERR_peek_error() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(strbuf_done) struct strbuf pem = { 0 };
	CLEANUP(free_charp) char *text = NULL;

	if (size < 2)
		return 0;
	if (!data[0]) {
		sign((struct str){ (const char *)data + 1, size - 1 });
		return 0;
	}
	text = malloc(2 * size + 8);
	FUZZ_CHECK(text);
	(void)EVP_EncodeBlock((unsigned char *)text, data + 1, (int)(size - 1));
	strbuf_addf(&pem, "-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n",
		    text);
	sign((struct str){ pem.ptr, pem.len });
	return 0;
}
