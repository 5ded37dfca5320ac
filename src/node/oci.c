/* SPDX-License-Identifier: Apache-2.0 */
#include "node/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "node/layer.h"
#include "node/rootfs.h"

#if defined(__x86_64__)
#define OCI_ARCH "amd64"
#elif defined(__aarch64__)
#define OCI_ARCH "arm64"
#else
#define OCI_ARCH "unknown"
#endif
#define CONFIG_STRINGS_MAX 512
#define OUTER_ENTRIES_MAX 4096

/* ---- JSON of the layout ---- */

static int parse_object(struct str text, const char *what, json_t **ret, struct err *e)
{
	CLEANUP(json_freep) json_t *j = NULL;

	if (text.len > OCI_JSON_MAX)
		return err_set(e, FAULT_TOO_LARGE, NULL, "%s of %zu bytes", what, text.len);
	if (json_parse(text, &j, e) < 0)
		return err_wrap(e, "%s", what);
	*ret = MOVE_PTR(j);
	return 0;
}

/* "sha256:<hex>" -> name in the layout and digest. */
static int blob_of_descriptor(const json_t *d, const char *what, struct oci_blob *ret, struct err *e)
{
	struct str digest = str_of(json_str(d, "digest"));
	uint8_t sum[32];

	memset(ret, 0, sizeof(*ret));
	if (!str_starts(digest, STR("sha256:")) ||
	    str_from_hex((struct str){ digest.ptr + 7, digest.len - 7 }, sum, 32) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "%s of the image has no sha256 digest", what);
	hex_of(sum, sizeof(sum), ret->sha256);
	(void)snprintf(ret->name, sizeof(ret->name), "blobs/sha256/%s", ret->sha256);
	ret->size = (uint64_t)json_int(d, "size", 0);
	return 0;
}

static bool platform_fits(const json_t *manifest)
{
	const json_t *p = json_object_get(manifest, "platform");
	const char *os = json_str(p, "os"), *arch = json_str(p, "architecture");

	return (!os || strcmp(os, "linux") == 0) && (!arch || strcmp(arch, OCI_ARCH) == 0);
}

int oci_index_parse(struct str text, struct oci_blob *ret, bool *ret_nested, struct err *e)
{
	CLEANUP(json_freep) json_t *j = NULL;
	json_t *list, *m;
	size_t i;

	if (parse_object(text, "index of the image", &j, e) < 0)
		return -EINVAL;
	list = json_object_get(j, "manifests");
	json_array_foreach(list, i, m) {
		const char *type = json_str(m, "mediaType");

		if (!platform_fits(m))
			continue;
		*ret_nested = type && (strstr(type, "image.index") || strstr(type, "manifest.list"));
		return blob_of_descriptor(m, "manifest", ret, e);
	}
	return err_set(e, FAULT_BAD_REQUEST, NULL, "image has no manifest for linux on " OCI_ARCH);
}

int oci_manifest_parse(struct str text, struct oci_manifest *ret, struct err *e)
{
	CLEANUP(json_freep) json_t *j = NULL;
	json_t *layers, *layer;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	if (parse_object(text, "manifest of the image", &j, e) < 0 ||
	    blob_of_descriptor(json_object_get(j, "config"), "config", &ret->config, e) < 0)
		return -EINVAL;
	layers = json_object_get(j, "layers");
	if (!json_is_array(layers) || json_array_size(layers) > OCI_LAYERS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "manifest without a list of at most %d layers", OCI_LAYERS_MAX);
	json_array_foreach(layers, i, layer) {
		if (blob_of_descriptor(layer, "layer", &ret->layers[i], e) < 0)
			return -EINVAL;
		ret->n_layers++;
	}
	return 0;
}

static int blob_of_name(const json_t *name, struct oci_blob *ret, struct err *e)
{
	char clean[LAYER_PATH_MAX];
	const char *base;
	uint8_t sum[32];

	memset(ret, 0, sizeof(*ret));
	if (!json_is_string(name) || layer_path_clean(json_string_value(name), clean, e) < 0 ||
	    !*clean || str_copy(ret->name, sizeof(ret->name), str_of(clean)) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "manifest.json names no usable file");
	/* Blobs and configs of docker archives are named by their digest. */
	base = strrchr(clean, '/');
	base = base ? base + 1 : clean;
	if (strlen(base) >= 64 && (!base[64] || strcmp(base + 64, ".json") == 0) &&
	    str_from_hex((struct str){ base, 64 }, sum, 32) == 0)
		hex_of(sum, sizeof(sum), ret->sha256);
	return 0;
}

int oci_docker_manifest_parse(struct str text, struct oci_manifest *ret, struct err *e)
{
	CLEANUP(json_freep) json_t *j = NULL;
	json_t *image, *layers, *layer;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	if (parse_object(text, "manifest.json", &j, e) < 0)
		return -EINVAL;
	image = json_array_get(j, 0);
	layers = json_object_get(image, "Layers");
	if (!json_is_array(layers) || json_array_size(layers) > OCI_LAYERS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "manifest.json without a list of at most %d layers", OCI_LAYERS_MAX);
	if (blob_of_name(json_object_get(image, "Config"), &ret->config, e) < 0)
		return -EINVAL;
	json_array_foreach(layers, i, layer) {
		if (blob_of_name(layer, &ret->layers[i], e) < 0)
			return -EINVAL;
		ret->n_layers++;
	}
	return 0;
}

static int check_strings(const json_t *config, const char *key, struct err *e)
{
	json_t *list = json_object_get(config, key), *s;
	size_t i;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > CONFIG_STRINGS_MAX)
		return err_set(e, FAULT_BAD_REQUEST, key,
			       "config of the image: not a list of at most %d strings",
			       CONFIG_STRINGS_MAX);
	json_array_foreach(list, i, s)
		if (!json_is_string(s))
			return err_set(e, FAULT_BAD_REQUEST, key,
				       "config of the image: not a list of strings");
	return 0;
}

int oci_config_parse(struct str text, json_t **ret, struct err *e)
{
	static const char *const lists[] = { "Entrypoint", "Cmd", "Env" };
	static const char *const words[] = { "WorkingDir", "User" };
	CLEANUP(json_freep) json_t *j = NULL;
	json_t *config, *v;

	if (parse_object(text, "config of the image", &j, e) < 0)
		return -EINVAL;
	config = json_object_get(j, "config");
	if (!json_is_object(config))
		return err_set(e, FAULT_BAD_REQUEST, "config",
			       "config of the image does not say what to run");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		if (check_strings(config, lists[i], e) < 0)
			return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		v = json_object_get(config, words[i]);
		if (v && !json_is_null(v) && !json_is_string(v))
			return err_set(e, FAULT_BAD_REQUEST, words[i],
				       "config of the image: not a string");
	}
	*ret = json_incref(config);
	return 0;
}

/* ---- files of the archive ---- */

struct outer {
	int dir; /* scratch */
	int file;
};

/* Files of the archive lie flat in the scratch directory: "blobs/sha256/x" as "blobs%sha256%x". */
static int flat_name(const char *path, char ret[static OCI_NAME_SIZE])
{
	if (strlen(path) > 250 || strchr(path, '%'))
		return -EINVAL;
	(void)str_copy(ret, OCI_NAME_SIZE, str_of(path));
	for (char *p = ret; *p; p++)
		if (*p == '/')
			*p = '%';
	return 0;
}

static int outer_entry(void *ctx, const struct layer_entry *en, struct err *e)
{
	struct outer *o = ctx;
	char name[OCI_NAME_SIZE];

	if (en->type != LAYER_FILE)
		return 0;
	if (flat_name(en->path, name) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "image archive: strange file name '%.200s'", en->path);
	(void)unlinkat(o->dir, name, 0);
	o->file = openat(o->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return o->file < 0 ? err_errno(e, errno, "unpacking '%.200s'", en->path) : 0;
}

static int outer_data(void *ctx, const void *bytes, size_t size, uint64_t offset, struct err *e)
{
	struct outer *o = ctx;
	const char *p = bytes;

	while (size > 0) {
		ssize_t n = pwrite(o->file, p, size, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return err_errno(e, errno, "unpacking the image");
		if (n > 0) {
			p += n;
			size -= (size_t)n;
			offset += (uint64_t)n;
		}
	}
	return 0;
}

static int outer_end(void *ctx, struct err *e)
{
	struct outer *o = ctx;

	(void)e;
	close_fdp(&o->file);
	o->file = -1;
	return 0;
}

static int unpack_outer(const char *archive, int scratch, uint64_t limit, struct err *e)
{
	static const struct layer_ops ops = { .entry = outer_entry, .data = outer_data, .end = outer_end };
	CLEANUP(close_fdp) int fd = open(archive, O_RDONLY | O_CLOEXEC);
	struct layer_source src = { .fd = fd };
	struct layer_budget budget = { .bytes = limit, .entries = OUTER_ENTRIES_MAX };
	struct outer o = { .dir = scratch, .file = -1 };
	int r;

	if (fd < 0)
		return err_errno(e, errno, "%s", archive);
	r = layer_walk(&src, &budget, &ops, &o, e);
	close_fdp(&o.file);
	return r;
}

static int sha256_of_file(const char *path, char ret[static 65], uint64_t *ret_size, struct err *e)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	CLEANUP(free_charp) char *buf = malloc(1 << 16);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	ssize_t n = -1;
	bool ok = fd >= 0 && buf && md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

	*ret_size = 0;
	while (ok && (n = read(fd, buf, 1 << 16)) > 0) {
		*ret_size += (uint64_t)n;
		ok = EVP_DigestUpdate(md, buf, (size_t)n) == 1;
	}
	ok = ok && n == 0 && EVP_DigestFinal_ex(md, sum, &size) == 1;
	EVP_MD_CTX_free(md);
	if (!ok)
		return err_errno(e, errno ? errno : EIO, "hash of %s", path);
	hex_of(sum, size, ret);
	return 0;
}

/* Path of the blob after its size and digest have been checked. */
static int blob_verify(const char *scratch, const struct oci_blob *b, char path[static PATH_MAX],
		       struct err *e)
{
	char name[OCI_NAME_SIZE], hex[65];
	uint64_t size = 0;

	if (flat_name(b->name, name) < 0 || snprintf(path, PATH_MAX, "%s/%s", scratch, name) >= PATH_MAX)
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "image archive: strange file name '%.200s'", b->name);
	if (access(path, R_OK) < 0)
		return err_set(e, FAULT_BAD_REQUEST, NULL, "image archive lacks %s", b->name);
	if (!b->sha256[0])
		return 0;
	if (sha256_of_file(path, hex, &size, e) < 0)
		return -EIO;
	if (strcmp(hex, b->sha256) != 0 || (b->size && b->size != size))
		return err_set(e, FAULT_BAD_REQUEST, NULL,
			       "%s of the image does not have its digest", b->name);
	return 0;
}

static int blob_read(const char *scratch, const struct oci_blob *b, char **ret, size_t *ret_size,
		     struct err *e)
{
	char path[PATH_MAX];
	int r = blob_verify(scratch, b, path, e);

	return r < 0 ? r : file_read(path, OCI_JSON_MAX, ret, ret_size, e);
}

static int load_oci(const char *scratch, struct oci_manifest *m, struct err *e)
{
	struct oci_blob b = { .name = "index.json" };

	for (int depth = 0; depth < 3; depth++) {
		CLEANUP(free_charp) char *text = NULL;
		size_t size = 0;
		bool nested = false;
		int r = blob_read(scratch, &b, &text, &size, e);

		if (r == 0)
			r = oci_index_parse((struct str){ text, size }, &b, &nested, e);
		if (r < 0)
			return r;
		if (!nested) {
			CLEANUP(free_charp) char *manifest = NULL;

			r = blob_read(scratch, &b, &manifest, &size, e);
			return r < 0 ? r : oci_manifest_parse((struct str){ manifest, size }, m, e);
		}
	}
	return err_set(e, FAULT_BAD_REQUEST, NULL, "index of the image is nested too deeply");
}

static int load_docker(const char *scratch, struct oci_manifest *m, struct err *e)
{
	static const struct oci_blob b = { .name = "manifest.json" };
	CLEANUP(free_charp) char *text = NULL;
	size_t size = 0;
	int r = blob_read(scratch, &b, &text, &size, e);

	return r < 0 ? r : oci_docker_manifest_parse((struct str){ text, size }, m, e);
}

static int load_manifest(const char *scratch, int scratch_fd, struct oci_manifest *m, struct err *e)
{
	if (faccessat(scratch_fd, "index.json", R_OK, 0) == 0)
		return load_oci(scratch, m, e);
	if (faccessat(scratch_fd, "manifest.json", R_OK, 0) == 0)
		return load_docker(scratch, m, e);
	return err_set(e, FAULT_BAD_REQUEST, NULL, "neither an OCI image layout nor a docker archive");
}

static int add_layers(const char *scratch, const struct oci_manifest *m, const char *rootfs_dir,
		      uint64_t limit, struct err *e)
{
	CLEANUP(close_fdp) int root = -1;
	struct layer_budget budget = { .bytes = limit, .entries = LAYER_ENTRIES_MAX };

	if (mkdir(rootfs_dir, 0755) < 0 || chmod(rootfs_dir, 0755) < 0)
		return err_errno(e, errno, "%s", rootfs_dir);
	root = open(rootfs_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (root < 0)
		return err_errno(e, errno, "%s", rootfs_dir);
	for (size_t i = 0; i < m->n_layers; i++) {
		char path[PATH_MAX];
		int r = blob_verify(scratch, &m->layers[i], path, e);

		if (r == 0)
			r = rootfs_add_layer(root, i == 0, path, &budget, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int oci_unpack(const char *archive, const char *scratch_dir, const char *rootfs_dir,
	       uint64_t limit_bytes, json_t **ret_config, struct err *e)
{
	CLEANUP(free_voidp) struct oci_manifest *m = calloc(1, sizeof(*m));
	CLEANUP(free_charp) char *config = NULL;
	CLEANUP(close_fdp) int scratch = -1;
	size_t size = 0;
	int r = dir_make(scratch_dir, 0700, e);

	if (r == 0 && !m)
		r = err_set(e, FAULT_NO_MEMORY, NULL, "manifest of the image");
	if (r < 0)
		return r;
	scratch = open(scratch_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (scratch < 0)
		return err_errno(e, errno, "%s", scratch_dir);
	r = unpack_outer(archive, scratch, limit_bytes, e);
	if (r == 0)
		r = load_manifest(scratch_dir, scratch, m, e);
	if (r == 0)
		r = blob_read(scratch_dir, &m->config, &config, &size, e);
	if (r == 0)
		r = oci_config_parse((struct str){ config, size }, ret_config, e);
	if (r == 0)
		r = add_layers(scratch_dir, m, rootfs_dir, limit_bytes, e);
	if (tree_remove(scratch_dir, r < 0 ? NULL : e) < 0 && r == 0)
		r = -EIO;
	return r;
}
