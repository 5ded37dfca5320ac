/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const struct resource group = { .service = "network",
				       .singular = "security_group",
				       .plural = "security_groups" };
static const struct route route = { .path = "/x", .resource = &group };

/* The body of this fault in this service, as text. */
static char *body_of(const char *service, enum fault fault, const char *field)
{
	struct module m = { .service = service };
	struct req r = { .module = &m, .route = &route };
	struct err e = { 0 };
	CLEANUP(json_freep) json_t *body = NULL;

	assert_true(err_set(&e, fault, field, "words") < 0);
	body = error_body(&r, &m, error_status(&m, fault), &e);
	return json_text(body);
}

static const struct {
	const char *service, *field, *text;
	enum fault fault;
} envelopes[] = {
	{ "identity", NULL, "{\"error\":{\"code\":404,\"message\":\"words\",\"title\":\"Not Found\"}}",
	  FAULT_NOT_FOUND },
	{ "compute", NULL, "{\"itemNotFound\":{\"code\":404,\"message\":\"words\"}}", FAULT_NOT_FOUND },
	{ "compute", NULL, "{\"badRequest\":{\"code\":400,\"message\":\"words\"}}", FAULT_BAD_REQUEST },
	{ "compute", NULL, "{\"conflictingRequest\":{\"code\":409,\"message\":\"words\"}}", FAULT_IN_USE },
	{ "compute", NULL, "{\"forbidden\":{\"code\":403,\"message\":\"words\"}}", FAULT_QUOTA },
	{ "network", NULL,
	  "{\"NeutronError\":{\"type\":\"SecurityGroupNotFound\",\"message\":\"words\",\"detail\":\"\"}}",
	  FAULT_NOT_FOUND },
	{ "network", NULL,
	  "{\"NeutronError\":{\"type\":\"SecurityGroupInUse\",\"message\":\"words\",\"detail\":\"\"}}",
	  FAULT_IN_USE },
	{ "network", NULL,
	  "{\"NeutronError\":{\"type\":\"OverQuota\",\"message\":\"words\",\"detail\":\"\"}}",
	  FAULT_QUOTA },
	{ "network", "port.x",
	  "{\"NeutronError\":{\"type\":\"InvalidInput\",\"message\":\"words\",\"detail\":\"\"}}",
	  FAULT_BAD_REQUEST },
	{ "image", NULL, "{\"code\":403,\"title\":\"Forbidden\",\"message\":\"words\"}", FAULT_FORBIDDEN },
	/* The token check in front of every service speaks for identity. */
	{ "network", NULL, "{\"error\":{\"code\":401,\"message\":\"words\",\"title\":\"Unauthorized\"}}",
	  FAULT_UNAUTHENTICATED },
	{ "demarc", "site.name",
	  "{\"error\":{\"code\":409,\"message\":\"words\",\"title\":\"Conflict\",\"field\":\"site.name\"}}",
	  FAULT_CONFLICT },
};

static void test_envelopes(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(envelopes); i++) {
		CLEANUP(free_charp)
		char *text = body_of(envelopes[i].service, envelopes[i].fault, envelopes[i].field);

		assert_string_equal(text, envelopes[i].text);
	}
}

static void test_every_fault_has_a_status(void **state)
{
	static const char *const services[] = { "identity", "compute", "network", "image", "demarc" };

	for (size_t s = 0; s < ARRAY_LEN(services); s++)
		for (int f = 0; f <= FAULT_NO_MEMORY; f++) {
			struct module m = { .service = services[s] };
			int status = error_status(&m, (enum fault)f);

			assert_in_range(status, 400, 599);
			/* Only what is ours is "Internal Server Error" by name. */
			assert_int_equal(strcmp(status_reason(status), "Internal Server Error") == 0,
					 status == 500);
		}
}

static void test_inner_text_stays_inside(void **state)
{
	CLEANUP(free_charp) char *text = body_of("compute", FAULT_INTERNAL, NULL);

	assert_null(strstr(text, "words"));
	assert_non_null(strstr(text, "computeFault"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelopes),
		cmocka_unit_test(test_every_fault_has_a_status),
		cmocka_unit_test(test_inner_text_stays_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
