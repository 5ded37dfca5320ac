/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_NODE_OCI_H
#define DEMARC_NODE_OCI_H

/*
 * Image archives: an OCI image layout in a tar, or what `docker save` writes.
 * The parsers of the layout's JSON are pure, for tests and fuzzing. oci_unpack() blocks: call it from a worker.
 * Source: OCI image-spec v1.0 (image-layout.md, manifest.md, config.md); Docker image spec v1.2.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define OCI_LAYERS_MAX 128
#define OCI_JSON_MAX (4u << 20) /* bytes of an index, manifest or config */
#define OCI_NAME_SIZE 320
#define OCI_DEFAULT_LIMIT (4ULL << 30) /* bytes unpacked, when the flavor gives no disk size */

/* A file of the archive and what it must hash to. */
struct oci_blob {
	char name[OCI_NAME_SIZE]; /* path in the archive, cleaned */
	char sha256[65];	  /* hex; "": not told */
	uint64_t size;		  /* 0: not told */
};
struct oci_manifest {
	struct oci_blob config;
	size_t n_layers;
	struct oci_blob layers[OCI_LAYERS_MAX];
};

/* index.json: the manifest (or a nested index, *ret_nested) for linux on this machine's architecture. */
WARN_UNUSED int oci_index_parse(struct str text, struct oci_blob *ret, bool *ret_nested, struct err *e);
WARN_UNUSED int oci_manifest_parse(struct str text, struct oci_manifest *ret, struct err *e);
/* manifest.json of a docker archive: its first image. */
WARN_UNUSED int oci_docker_manifest_parse(struct str text, struct oci_manifest *ret, struct err *e);
/* The "config" object of an image config, its fields checked: Entrypoint, Cmd, Env lists of strings; WorkingDir, User. */
WARN_UNUSED int oci_config_parse(struct str text, json_t **ret, struct err *e);

/* Unpacks `archive` into rootfs_dir (made; must not exist). scratch_dir is used for blobs and left empty of them.
 * Every blob is checked against its digest. *ret_config as oci_config_parse(). */
WARN_UNUSED int oci_unpack(const char *archive, const char *scratch_dir, const char *rootfs_dir,
			   uint64_t limit_bytes, json_t **ret_config, struct err *e);

#endif
