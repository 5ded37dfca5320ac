/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON text as the body of a create and an update: refused by name, or a row whose values have their attributes' types. */
#include "fuzz.h"

#include <string.h>

#include "base/json.h"
#include "hub/rest_impl.h"

static const char *const colours[] = { "red", "green", NULL };
static const struct attr attrs[] = {
	{ "id", "id", ATTR_UUID, 0 },
	{ "s", "s", ATTR_STR, ATTR_RW, .max = 16 },
	{ "i", "i", ATTR_INT, ATTR_RW, .min = -5, .max = 5 },
	{ "b", "b", ATTR_BOOL, ATTR_RW },
	{ "r", "r", ATTR_REAL, ATTR_RW },
	{ "u", "u", ATTR_UUID, ATTR_RW },
	{ "ip", "ip", ATTR_IP, ATTR_RW | ATTR_NULLABLE },
	{ "c", "c", ATTR_CIDR, ATTR_RW },
	{ "m", "m", ATTR_MAC, ATTR_RW },
	{ "e", "e", ATTR_ENUM, ATTR_RW, .choices = colours },
	{ "l", "l", ATTR_LIST, ATTR_RW, .max = 3 },
	{ "o", "o", ATTR_OBJ, ATTR_RW, .max = 3 },
	{ "any", "any", ATTR_ANY, ATTR_RW },
	{ "p", "project_id", ATTR_STR, ATTR_CREATE, .alias = "t" },
	{ NULL },
};
static const struct resource thing = { .service = "network",
				       .singular = "thing",
				       .plural = "things",
				       .table = "thing",
				       .attrs = attrs };

static void check_row(const json_t *row, struct arena *a)
{
	for (const struct attr *at = attrs; at->name; at++) {
		json_t *v = json_object_get(row, at->name);
		struct db_arg arg = row_bind(at, v, a);

		if (!v || json_is_null(v))
			FUZZ_CHECK(arg.kind == DB_ARG_NULL);
		else if (at->type == ATTR_INT)
			FUZZ_CHECK(arg.kind == DB_ARG_INT && arg.i >= -5 && arg.i <= 5);
		else if (at->type == ATTR_BOOL)
			FUZZ_CHECK(arg.kind == DB_ARG_INT && (arg.i == 0 || arg.i == 1));
		else if (at->type != ATTR_REAL)
			FUZZ_CHECK(arg.kind == DB_ARG_TEXT && str_is_utf8(str_of(arg.s)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	CLEANUP(arena_freep) struct arena *a = arena_new(4 << 20);
	CLEANUP(json_freep) json_t *body = NULL;
	CLEANUP(json_freep) json_t *row = NULL;
	CLEANUP(json_freep) json_t *changes = NULL;
	struct req r = { .arena = a, .micro = 1, .auth = { .project_id = "p" } };
	struct err e = { 0 };

	if (!json_depth_within(text, REST_BODY_DEPTH_MAX) || json_parse(text, &body, &e) < 0)
		return 0;
	if (validate_create(&r, row_plan_of(&thing, &e), body, &row, &e) < 0)
		FUZZ_CHECK(e.msg[0] && e.field[0] && str_is_utf8(str_of(e.msg)) &&
			   str_is_utf8(str_of(e.field)));
	else
		check_row(row, a);
	if (validate_update(&r, &thing, body, &changes, &e) == 0)
		check_row(changes, a);
	return 0;
}
