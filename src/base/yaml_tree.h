/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_BASE_YAML_TREE_H
#define DEMARC_BASE_YAML_TREE_H

/* YAML 1.1 text (libyaml) into the same tree that JSON gives: mappings, sequences, scalars. */

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 100000

/*
 * Parses one document. Plain scalars become null, booleans (true/false/yes/no), integers or strings; quoted ones are strings.
 * Aliases and anchors, duplicate keys, more than YAML_DEPTH_MAX levels or YAML_NODES_MAX nodes are refused: BAD_REQUEST with
 * line and column. Empty text gives null. The caller owns *ret. Thread: any.
 */
WARN_UNUSED int yaml_parse(struct str text, json_t **ret, struct err *e);

#endif
