/* SPDX-License-Identifier: Apache-2.0 */
/* Image archives: no entry that passes leads out of its root, contents stay within sizes and the budget. First byte 0 to 3: the
 * rest is an index, a manifest, a docker manifest or a config; else an archive. */
#include "fuzz.h"

#include <jansson.h>

#include "node/layer.h"
#include "node/oci.h"

struct walked {
	uint64_t size, written;
	uint64_t spent;
};

static void check_path(const char *path)
{
	FUZZ_CHECK(path[0] != '/' && strlen(path) < LAYER_PATH_MAX);
	FUZZ_CHECK(strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 && !strstr(path, "/../"));
}

static int on_entry(void *ctx, const struct layer_entry *en, struct err *e)
{
	struct walked *w = ctx;

	(void)e;
	check_path(en->path);
	FUZZ_CHECK(*en->path || en->type == LAYER_OPAQUE);
	FUZZ_CHECK((en->mode & ~(mode_t)01777) == 0);
	if (en->type == LAYER_HARDLINK)
		check_path(en->target);
	w->size = en->type == LAYER_FILE ? en->size : 0;
	w->written = 0;
	w->spent += w->size;
	return 0;
}

static int on_data(void *ctx, const void *bytes, size_t size, uint64_t offset, struct err *e)
{
	struct walked *w = ctx;

	(void)bytes;
	(void)e;
	FUZZ_CHECK(offset + size <= w->size);
	return 0;
}

static void archive(struct str in)
{
	static const struct layer_ops ops = { .entry = on_entry, .data = on_data };
	struct layer_source src = { .fd = -1, .mem = in };
	struct layer_budget budget = { .bytes = 1 << 20, .entries = 64 };
	struct walked w = { 0 };

	(void)!layer_walk(&src, &budget, &ops, &w, NULL);
	FUZZ_CHECK(w.spent <= 1 << 20);
}

static void layout(uint8_t kind, struct str in)
{
	static struct oci_manifest m;
	struct oci_blob b;
	bool nested = false;
	json_t *config = NULL;

	if (kind == 0 && oci_index_parse(in, &b, &nested, NULL) == 0)
		FUZZ_CHECK(strlen(b.sha256) == 64);
	if (kind == 1 && oci_manifest_parse(in, &m, NULL) == 0)
		FUZZ_CHECK(m.n_layers <= OCI_LAYERS_MAX && strlen(m.config.sha256) == 64);
	if (kind == 2 && oci_docker_manifest_parse(in, &m, NULL) == 0)
		for (size_t i = 0; i < m.n_layers; i++)
			check_path(m.layers[i].name);
	if (kind == 3 && oci_config_parse(in, &config, NULL) == 0)
		FUZZ_CHECK(json_is_object(config));
	json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = { (const char *)data, size };

	if (size > 0 && data[0] < 4)
		layout(data[0], (struct str){ in.ptr + 1, in.len - 1 });
	else if (size > 0)
		archive(in);
	return 0;
}
