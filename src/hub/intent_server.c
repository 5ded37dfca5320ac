/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/intent_build.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"

/* Servers: flavor and image as they were chosen, vNICs in their slots, probe and restart policy from metadata or the image. */

#define VIFS_MAX 64	     /* slots of one server, gaps included */
#define USER_DATA_MAX 65536u /* bytes of base64, as the compute API bounds it */

/* ---- columns ---- */

enum server_col {
	COL_ID,
	COL_NAME,
	COL_HOSTNAME,
	COL_PROJECT,
	COL_FLAVOR,
	COL_POWER,
	COL_REBOOT,
	COL_METADATA,
	COL_USER_DATA,
	COL_CONFIG_DRIVE,
	COL_KEY_NAME,
	COL_PUBLIC_KEY,
	COL_ZONE,
	COL_CREATED,
	COL_IMAGE,
	COL_IMAGE_NAME,
	COL_HASH_ALGO,
	COL_HASH,
	COL_SIZE,
	COL_DISK_FORMAT,
	COL_CONTAINER_FORMAT,
	COL_PROPERTIES,
};
#define SERVER_COLUMNS                                                                                 \
	"s.id, s.name, s.hostname, s.project_id, s.flavor, s.power, s.reboot_generation, s.metadata, " \
	"s.user_data, s.config_drive, s.key_name, s.public_key, s.availability_zone, s.created_us, "   \
	"s.image_id, i.name, i.os_hash_algo, i.os_hash_value, i.size, i.disk_format, "                 \
	"i.container_format, i.properties"

static int image_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Server *s)
{
	Demarc__V1__Image *i = ARENA_NEW(b->arena, Demarc__V1__Image);
	CLEANUP(json_freep) json_t *properties = db_json(q, COL_PROPERTIES);
	const char *algo = db_text(q, COL_HASH_ALGO);

	if (!i)
		return -ENOMEM;
	demarc__v1__image__init(i);
	i->id = intent_text(b, q, COL_IMAGE);
	i->name = intent_text(b, q, COL_IMAGE_NAME);
	i->sha512 = algo && strcmp(algo, "sha512") == 0 ? intent_text(b, q, COL_HASH) :
							  intent_dup(b, "");
	i->size_bytes = (uint64_t)db_int(q, COL_SIZE);
	i->disk_format = intent_text(b, q, COL_DISK_FORMAT);
	i->container_format = intent_text(b, q, COL_CONTAINER_FORMAT);
	if (strcmp(i->container_format, "native") == 0)
		i->native_kind = intent_dup(b, json_str(properties, "native_kind"));
	s->image = i;
	return 0;
}

/* The flavor is stored with the server as compute shows it ("original_name"), or as its row ("name"). */
static void flavor_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Server *s)
{
	CLEANUP(json_freep) json_t *flavor = db_json(q, COL_FLAVOR);
	const char *name = json_str(flavor, "original_name");

	s->vcpus = (uint32_t)json_int(flavor, "vcpus", 1);
	s->memory_mb = (uint32_t)json_int(flavor, "ram", 0);
	s->disk_gb = (uint32_t)json_int(flavor, "disk", 0);
	s->flavor_name = intent_dup(b, name ? name : json_str(flavor, "name"));
}

/* RFC 4648 section 4, line breaks allowed. What does not decode was refused by the API; here it becomes nothing. */
static int user_data_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Server *s)
{
	const char *text = db_text(q, COL_USER_DATA);
	size_t size = text ? strlen(text) : 0;
	EVP_ENCODE_CTX *ctx;
	int n = 0, tail = 0;
	unsigned char *out;

	if (size == 0 || size > USER_DATA_MAX)
		return 0;
	out = arena_alloc(b->arena, size + 4);
	ctx = EVP_ENCODE_CTX_new();
	if (out && ctx) {
		EVP_DecodeInit(ctx);
		if (EVP_DecodeUpdate(ctx, out, &n, (const unsigned char *)text, (int)size) < 0 ||
		    EVP_DecodeFinal(ctx, out + n, &tail) < 0)
			n = tail = 0;
		s->user_data.data = out;
		s->user_data.len = (size_t)(n + tail);
	}
	EVP_ENCODE_CTX_free(ctx);
	return out && ctx ? 0 : -ENOMEM;
}

static int entry_cmp(const void *a, const void *b)
{
	const Demarc__V1__Server__MetadataEntry *x = *(Demarc__V1__Server__MetadataEntry *const *)a;
	const Demarc__V1__Server__MetadataEntry *y = *(Demarc__V1__Server__MetadataEntry *const *)b;

	return strcmp(x->key, y->key);
}

static int metadata_fill(struct intent_build *b, json_t *metadata, Demarc__V1__Server *s)
{
	const char *key;
	json_t *v;

	json_object_foreach(metadata, key, v) {
		Demarc__V1__Server__MetadataEntry *m =
			ARENA_NEW(b->arena, Demarc__V1__Server__MetadataEntry);
		if (!m)
			return -ENOMEM;
		demarc__v1__server__metadata_entry__init(m);
		m->key = intent_dup(b, key);
		m->value = intent_dup(b, json_string_value(v));
		if (!m->key || !m->value || INTENT_APPEND(b, s->n_metadata, s->metadata, m) < 0)
			return -ENOMEM;
	}
	if (s->n_metadata)
		qsort(s->metadata, s->n_metadata, sizeof(*s->metadata), entry_cmp);
	return 0;
}

static const struct {
	const char *name;
	Demarc__V1__RestartPolicy policy;
} restarts[] = {
	{ "always", DEMARC__V1__RESTART_POLICY__RESTART_ALWAYS },
	{ "on-failure", DEMARC__V1__RESTART_POLICY__RESTART_ON_FAILURE },
	{ "never", DEMARC__V1__RESTART_POLICY__RESTART_NEVER },
	{ "no", DEMARC__V1__RESTART_POLICY__RESTART_NEVER },
};

static Demarc__V1__RestartPolicy restart_of(const char *text)
{
	for (size_t i = 0; text && i < ARRAY_LEN(restarts); i++)
		if (strcmp(restarts[i].name, text) == 0)
			return restarts[i].policy;
	return DEMARC__V1__RESTART_POLICY__RESTART_ALWAYS;
}

/* The server's own metadata goes before the image's property, which may also be spelled with '_'. */
static int hints_fill(struct intent_build *b, struct db_rows *q, Demarc__V1__Server *s)
{
	CLEANUP(json_freep)
	json_t *metadata = db_json(q, COL_METADATA), *properties = db_json(q, COL_PROPERTIES);
	const char *probe = json_str(metadata, "demarc:probe"),
		   *restart = json_str(metadata, "demarc:restart");

	probe = probe ? probe : json_str(properties, "demarc:probe");
	restart = restart ? restart : json_str(properties, "demarc:restart");
	s->probe = intent_dup(b, probe ? probe : json_str(properties, "demarc_probe"));
	s->restart = restart_of(restart ? restart : json_str(properties, "demarc_restart"));
	return metadata_fill(b, metadata, s);
}

static int server_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	Demarc__V1__Object *o = intent_object_add(b, "server", db_text(q, COL_ID));
	Demarc__V1__Server *s = ARENA_NEW(b->arena, Demarc__V1__Server);

	(void)ctx;
	(void)e;
	if (!o || !s)
		return -ENOMEM;
	demarc__v1__server__init(s);
	o->body_case = DEMARC__V1__OBJECT__BODY_SERVER;
	o->server = s;
	s->name = intent_text(b, q, COL_NAME);
	s->hostname = intent_text(b, q, COL_HOSTNAME);
	s->project_id = intent_text(b, q, COL_PROJECT);
	s->power = strcmp(db_text(q, COL_POWER), "running") == 0 ? DEMARC__V1__POWER__POWER_RUNNING :
								   DEMARC__V1__POWER__POWER_STOPPED;
	s->reboot_generation = (uint64_t)db_int(q, COL_REBOOT);
	s->config_drive = db_int(q, COL_CONFIG_DRIVE) != 0;
	s->key_name = intent_text(b, q, COL_KEY_NAME);
	s->public_key = intent_text(b, q, COL_PUBLIC_KEY);
	s->availability_zone = intent_text(b, q, COL_ZONE);
	s->created_us = db_int(q, COL_CREATED);
	flavor_fill(b, q, s);
	if (image_fill(b, q, s) < 0 || user_data_fill(b, q, s) < 0 || hints_fill(b, q, s) < 0)
		return -ENOMEM;
	return arena_failed(b->arena) ? -ENOMEM : 0;
}

static int vif_add(struct intent_build *b, Demarc__V1__Server *s, char *port_id, char *tag)
{
	Demarc__V1__Vif *v = ARENA_NEW(b->arena, Demarc__V1__Vif);

	if (!v || !port_id || !tag)
		return -ENOMEM;
	demarc__v1__vif__init(v);
	v->port_id = port_id;
	v->tag = tag;
	return INTENT_APPEND(b, s->n_vifs, s->vifs, v);
}

/* Slot idx is eth<idx>: a freed slot is an empty Vif, so that nothing behind it moves. */
static int vif_row(struct intent_build *b, struct db_rows *q, void *ctx, struct err *e)
{
	size_t first = *(const size_t *)ctx;
	Demarc__V1__Object *o = intent_find(&b->objects, first, db_text(q, 0));
	int64_t idx = db_int(q, 1);

	if (!o)
		return 0;
	if (idx < (int64_t)o->server->n_vifs || idx >= VIFS_MAX)
		return err_set(e, FAULT_INTERNAL, "idx",
			       "server %s: vNIC slot %lld is out of range", o->id, (long long)idx);
	while (o->server->n_vifs < (size_t)idx)
		if (vif_add(b, o->server, intent_dup(b, ""), intent_dup(b, "")) < 0)
			return -ENOMEM;
	return vif_add(b, o->server, intent_text(b, q, 2), intent_text(b, q, 3));
}

int intent_build_servers(struct intent_build *b, struct err *e)
{
	struct db_rows *q = NULL;
	size_t first = b->objects.n;
	int rc = db_query(b->db, &q, e,
			  "SELECT " SERVER_COLUMNS " FROM server s LEFT JOIN image i ON i.id = s.image_id "
			  "WHERE s.node_id = ? ORDER BY s.id",
			  "s", b->node_id);

	if (rc >= 0)
		rc = intent_each(b, q, server_row, NULL, e);
	if (rc < 0 || b->objects.n == first)
		return rc;
	rc = db_query(b->db, &q, e,
		      "SELECT v.server_id, v.idx, v.port_id, v.tag FROM server s JOIN server_vif v ON v.server_id = s.id "
		      "WHERE s.node_id = ? ORDER BY v.server_id, v.idx",
		      "s", b->node_id);
	return rc < 0 ? rc : intent_each(b, q, vif_row, &first, e);
}
