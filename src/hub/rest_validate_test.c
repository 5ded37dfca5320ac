/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/rest_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/json.h"

static const char *const colours[] = { "red", "green", NULL };
static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, 0 },
	{ "name", "name", ATTR_STR, ATTR_RW | ATTR_REQUIRED, .min = 1, .max = 8 },
	{ "size", "size", ATTR_INT, ATTR_RW, .min = 1, .max = 10, .dflt = "3" },
	{ "up", "up", ATTR_BOOL, ATTR_RW },
	{ "mac_address", "mac", ATTR_MAC, ATTR_CREATE },
	{ "ip", "ip", ATTR_IP, ATTR_RW | ATTR_NULLABLE },
	{ "cidr", "cidr", ATTR_CIDR, ATTR_RW },
	{ "ref", "ref", ATTR_UUID, ATTR_RW },
	{ "colour", "colour", ATTR_ENUM, ATTR_RW, .choices = colours },
	{ "list", "list", ATTR_LIST, ATTR_RW, .max = 2, .dflt = "[]" },
	{ "obj", "obj", ATTR_OBJ, ATTR_RW },
	{ "ratio", "ratio", ATTR_REAL, ATTR_RW, .max = 2 },
	{ "secret", "secret", ATTR_STR, ATTR_RW | ATTR_ADMIN },
	{ "made", "created_us", ATTR_TIME_S, ATTR_RW },
	{ "newer", "newer", ATTR_STR, ATTR_RW, .since = 50 },
	{ "inner", "inner", ATTR_STR, ATTR_HIDDEN },
	{ "project_id", "project_id", ATTR_STR, ATTR_CREATE, .alias = "tenant_id" },
	{ NULL },
};
static const struct resource thing = { .service = "network",
				       .singular = "port",
				       .plural = "ports",
				       .table = "port",
				       .attrs = attrs };

static int create(const char *text, bool admin, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *body = NULL;
	struct req r = { .micro = 10, .auth = { .is_admin = admin, .project_id = "mine" } };

	assert_int_equal(json_parse(str_of(text), &body, e), 0);
	return validate_create(&r, row_plan_of(&thing, e), body, ret, e);
}

static void test_create(void **state)
{
	CLEANUP(json_freep) json_t *row = NULL;
	struct err e = { 0 };

	assert_int_equal(
		create("{\"name\":\"x\",\"up\":\"True\",\"size\":\"7\",\"mac_address\":\"02-AB-00-00-00-01\","
		       "\"ip\":\"2001:DB8:0::1\",\"cidr\":\"192.0.2.0/24\",\"colour\":\"red\",\"ratio\":1}",
		       false, &row, &e),
		0);
	assert_int_equal(json_int(row, "size", 0), 7);
	assert_true(json_bool(row, "up", false));
	assert_string_equal(json_str(row, "mac_address"), "02:ab:00:00:00:01");
	assert_string_equal(json_str(row, "ip"), "2001:db8::1");
	assert_string_equal(json_str(row, "project_id"), "mine");
	assert_true(json_is_array(json_object_get(row, "list")));
	assert_int_equal(strlen(json_str(row, "id")), 36);
}

static void test_defaults_and_null(void **state)
{
	CLEANUP(json_freep) json_t *row = NULL;
	struct err e = { 0 };

	assert_int_equal(
		create("{\"name\":\"x\",\"ip\":null,\"tenant_id\":\"mine\"}", false, &row, &e), 0);
	assert_int_equal(json_int(row, "size", 0), 3);
	assert_true(json_is_null(json_object_get(row, "ip")));
	assert_null(json_object_get(row, "tenant_id"));
}

static const struct {
	const char *body, *field, *text;
	enum fault fault;
} bad[] = {
	{ "{}", "port.name", "required", FAULT_BAD_REQUEST },
	{ "[]", "port", "object", FAULT_BAD_REQUEST },
	{ "{\"name\":\"\"}", "port.name", "too short", FAULT_BAD_REQUEST },
	{ "{\"name\":\"123456789\"}", "port.name", "too long", FAULT_BAD_REQUEST },
	{ "{\"name\":1}", "port.name", "string", FAULT_BAD_REQUEST },
	{ "{\"name\":null}", "port.name", "null", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"nope\":1}", "nope", "nope", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"inner\":\"1\"}", "inner", "inner", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"newer\":\"1\"}", "newer", "newer", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"id\":\"1\"}", "port.id", "not allowed in POST", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"size\":11}", "port.size", "1 to 10", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"size\":1.5}", "port.size", "integer", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"size\":\"99999999999999999999\"}", "port.size", "integer",
	  FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"up\":2}", "port.up", "boolean", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"mac_address\":\"01:00:00:00:00:00\"}", "port.mac_address", "MAC",
	  FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"mac_address\":5}", "port.mac_address", "MAC", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"ip\":\"1.2.3\"}", "port.ip", "IP", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"cidr\":\"1.2.3.4/33\"}", "port.cidr", "CIDR", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"ref\":\"1\"}", "port.ref", "UUID", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"colour\":\"blue\"}", "port.colour", "red, green", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"list\":{}}", "port.list", "list", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"list\":[1,2,3]}", "port.list", "too many", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"obj\":[]}", "port.obj", "object", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"ratio\":3}", "port.ratio", "range", FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"made\":\"2026-01-01T00:00:00Z\"}", "port.made", "cannot be set",
	  FAULT_BAD_REQUEST },
	{ "{\"name\":\"x\",\"secret\":\"1\"}", "port.secret", "admin", FAULT_FORBIDDEN },
	{ "{\"name\":\"x\",\"project_id\":\"theirs\"}", "project_id", "another project", FAULT_FORBIDDEN },
	{ "{\"name\":\"x\",\"project_id\":\"a\",\"tenant_id\":\"b\"}", "project_id", "differ",
	  FAULT_BAD_REQUEST },
};

static void test_every_error_names_its_field(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_t *row = NULL;
		struct err e = { 0 };

		if (create(bad[i].body, false, &row, &e) >= 0)
			fail_msg("%s was taken", bad[i].body);
		assert_null(row);
		assert_int_equal(e.fault, bad[i].fault);
		assert_string_equal(e.field, bad[i].field);
		if (!strstr(e.msg, bad[i].text))
			fail_msg("%s: '%s' does not say '%s'", bad[i].body, e.msg, bad[i].text);
		assert_true(str_is_utf8(str_of(e.msg)));
	}
}

static void test_admin_may(void **state)
{
	CLEANUP(json_freep) json_t *row = NULL;
	struct err e = { 0 };

	assert_int_equal(create("{\"name\":\"x\",\"secret\":\"1\",\"project_id\":\"theirs\"}", true,
				&row, &e),
			 0);
	assert_string_equal(json_str(row, "project_id"), "theirs");
}

static void test_update(void **state)
{
	CLEANUP(json_freep) json_t *body = json_pack("{s:s}", "mac_address", "02:00:00:00:00:01");
	CLEANUP(json_freep) json_t *fine = json_pack("{s:i}", "size", 5);
	CLEANUP(json_freep) json_t *changes = NULL;
	struct req r = { .micro = 10 };
	struct err e = { 0 };

	assert_int_equal(validate_update(&r, &thing, body, &changes, &e), -EINVAL);
	assert_string_equal(e.field, "port.mac_address");
	assert_non_null(strstr(e.msg, "not allowed in PUT"));
	assert_int_equal(validate_update(&r, &thing, fine, &changes, &e), 0);
	assert_int_equal(json_object_size(changes), 1); /* no defaults in an update */
}

static void test_long_texts_stay_utf8(void **state)
{
	CLEANUP(strbuf_done) struct strbuf b = { 0 };
	CLEANUP(json_freep) json_t *changes = NULL;
	CLEANUP(json_freep) json_t *body = NULL;
	struct req r = { .micro = 10 };
	struct err e = { 0 };

	for (int i = 0; i < 100; i++)
		strbuf_adds(&b, "ü€");
	body = json_pack("{s:s}", b.ptr, "x");
	assert_int_equal(validate_update(&r, &thing, body, &changes, &e), -EINVAL);
	assert_true(str_is_utf8(str_of(e.msg)));
	json_object_clear(body);
	json_object_set_new(body, "name", json_string(b.ptr));
	assert_int_equal(validate_update(&r, &thing, body, &changes, &e), -EINVAL);
	assert_true(str_is_utf8(str_of(e.msg)));
}

static void test_depth(void **state)
{
	assert_true(json_depth_within(STR("[[[]]]"), 3));
	assert_false(json_depth_within(STR("[[[]]]"), 2));
	assert_true(json_depth_within(STR("[\"[[[[\\\"[[[\"]"), 1));
	assert_true(json_depth_within(STR("]]]]"), 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_defaults_and_null),
		cmocka_unit_test(test_every_error_names_its_field),
		cmocka_unit_test(test_admin_may),
		cmocka_unit_test(test_update),
		cmocka_unit_test(test_long_texts_stay_utf8),
		cmocka_unit_test(test_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
