/* SPDX-License-Identifier: Apache-2.0 */
#include "model/digest.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct digest {
	EVP_MD_CTX *md;
	size_t n;
	bool failed;
};

struct digest *digest_new(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->md = EVP_MD_CTX_new();
	d->failed = !d->md || EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1;
	return d;
}

void digest_add(struct digest *d, const char *kind, const char *id, uint64_t version)
{
	char number[24];

	(void)snprintf(number, sizeof(number), " %" PRIu64 "\n", version);
	d->n++;
	d->failed |= EVP_DigestUpdate(d->md, kind, strlen(kind)) != 1 ||
		     EVP_DigestUpdate(d->md, " ", 1) != 1 ||
		     EVP_DigestUpdate(d->md, id, strlen(id)) != 1 ||
		     EVP_DigestUpdate(d->md, number, strlen(number)) != 1;
}

void digest_take(struct digest *d, char ret[static DIGEST_HEX_SIZE])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	ret[0] = '\0';
	if (!d)
		return;
	if (!d->failed && d->n > 0 && EVP_DigestFinal_ex(d->md, sum, &size) == 1)
		hex_of(sum, size, ret);
	EVP_MD_CTX_free(d->md);
	free(d);
}
