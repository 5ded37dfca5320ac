/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "cli/cloud.h"

#define ANSWER_MAX (64u << 20) /* bytes of one answer */
#define CONNECT_TIMEOUT_S 10L
#define CALL_TIMEOUT_S 120L

struct client {
	struct cloud cloud;
	CURL *curl;
	char *token;
	json_t *endpoints; /* type -> URL */
	struct strbuf answer;
	char subject_token[8192];
	char curl_error[CURL_ERROR_SIZE];
	bool fresh; /* no connection is used twice */
};

/* ---- one HTTP exchange ---- */

static size_t on_body(char *data, size_t one, size_t n, void *ctx)
{
	struct client *c = ctx;

	strbuf_add(&c->answer, data, n);
	return c->answer.error ? 0 : n;
}

static size_t on_header(char *data, size_t one, size_t n, void *ctx)
{
	struct client *c = ctx;
	struct str value, name = str_cut((struct str){ data, n }, ':', &value);

	while (value.len && (value.ptr[value.len - 1] == '\r' || value.ptr[value.len - 1] == '\n'))
		value.len--;
	if (str_eq_nocase(name, STR("x-subject-token")) &&
	    str_copy(c->subject_token, sizeof(c->subject_token), str_trim(value)))
		return 0;
	return n;
}

static enum fault fault_of_status(long status)
{
	static const struct {
		long status;
		enum fault fault;
	} rows[] = {
		{ 400, FAULT_BAD_REQUEST },
		{ 401, FAULT_UNAUTHENTICATED },
		{ 403, FAULT_FORBIDDEN },
		{ 404, FAULT_NOT_FOUND },
		{ 405, FAULT_METHOD },
		{ 406, FAULT_NOT_ACCEPTABLE },
		{ 408, FAULT_TIMEOUT },
		{ 409, FAULT_CONFLICT },
		{ 410, FAULT_GONE },
		{ 412, FAULT_PRECONDITION },
		{ 413, FAULT_TOO_LARGE },
		{ 415, FAULT_MEDIA_TYPE },
		{ 501, FAULT_NOT_IMPLEMENTED },
		{ 503, FAULT_UNAVAILABLE },
		{ 504, FAULT_TIMEOUT },
		{ 507, FAULT_NO_SPACE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].status == status)
			return rows[i].fault;
	return status >= 500 ? FAULT_INTERNAL : FAULT_BAD_REQUEST;
}

/* The services' envelopes differ: {"NeutronError": {"message"}}, {"error": {"message"}}, {"badRequest": {"message"}}, {"message"}. */
static const char *message_of(const json_t *body)
{
	const char *key;
	json_t *value;

	if (json_str(body, "message"))
		return json_str(body, "message");
	json_object_foreach((json_t *)body, key, value)
		if (json_str(value, "message"))
			return json_str(value, "message");
	return NULL;
}

static int check_answer(struct client *c, const char *what, long status, json_t **ret, struct err *e)
{
	struct str text = { strbuf_cstr(&c->answer), c->answer.len };
	json_t *body CLEANUP(json_freep) = NULL;
	struct err ignored;
	int rc = text.len ? json_parse(text, &body, &ignored) : 0;
	const char *message = message_of(body);

	if (status >= 400)
		return err_set(e, fault_of_status(status), NULL, "%s",
			       message ? message : "the hub gave no reason");
	if (rc < 0)
		return err_set(e, FAULT_PROTOCOL, NULL,
			       "%s: the answer is not JSON: is this a demarc hub?", what);
	if (ret)
		*ret = MOVE_PTR(body);
	return 0;
}

/* type: of the body; NULL: there is none. */
static struct curl_slist *headers_for(const struct client *c, const char *type)
{
	struct strbuf token CLEANUP(strbuf_done) = { 0 };
	struct strbuf line CLEANUP(strbuf_done) = { 0 };
	struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");

	if (type) {
		strbuf_addf(&line, "Content-Type: %s", type);
		list = curl_slist_append(list, strbuf_cstr(&line));
	}
	if (c->token) {
		strbuf_addf(&token, "X-Auth-Token: %s", c->token);
		list = curl_slist_append(list, strbuf_cstr(&token));
	}
	/* Device tags at attach need 2.49, host names 2.90. */
	return curl_slist_append(list, "OpenStack-API-Version: compute 2.90");
}

static int exchange(struct client *c, const char *method, const char *url, const char *type,
		    struct str body, json_t **ret, struct err *e)
{
	struct curl_slist *headers = headers_for(c, type);
	CURLcode code;
	long status = 0;

	strbuf_done(&c->answer);
	c->answer = (struct strbuf){ .limit_bytes = ANSWER_MAX };
	c->curl_error[0] = '\0';
	curl_easy_reset(c->curl);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->curl_error);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, CALL_TIMEOUT_S);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	if (c->fresh) {
		curl_easy_setopt(c->curl, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(c->curl, CURLOPT_FORBID_REUSE, 1L);
		curl_easy_setopt(c->curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	}
	curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "https,http");
	if (type) {
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body.ptr);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	}
	if (c->cloud.cacert)
		curl_easy_setopt(c->curl, CURLOPT_CAINFO, c->cloud.cacert);
	if (c->cloud.insecure) {
		curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	code = curl_easy_perform(c->curl);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return err_set(e, code == CURLE_OPERATION_TIMEDOUT ? FAULT_TIMEOUT : FAULT_UNAVAILABLE,
			       NULL, "cannot reach %s: %s", url,
			       c->curl_error[0] ? c->curl_error : curl_easy_strerror(code));
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
	return check_answer(c, url, status, ret, e);
}

static int exchange_json(struct client *c, const char *method, const char *url, const json_t *body,
			 json_t **ret, struct err *e)
{
	char *text CLEANUP(free_charp) = body ? json_text(body) : NULL;

	return exchange(c, method, url, text ? "application/json" : NULL, str_of(text), ret, e);
}

/* ---- identity ---- */

static json_t *domain_of(const char *name)
{
	/* "default" is the id, anything else a name: what clouds.yaml files carry. */
	const char *d = name ? name : "default";

	return strcmp(d, "default") == 0 ? json_pack("{s:s}", "id", d) : json_pack("{s:s}", "name", d);
}

static json_t *auth_body(const struct cloud *c)
{
	json_t *scope = NULL;

	if (c->project_id)
		scope = json_pack("{s:{s:s}}", "project", "id", c->project_id);
	else if (c->project_name)
		scope = json_pack("{s:{s:s, s:o}}", "project", "name", c->project_name, "domain",
				  domain_of(c->project_domain));
	return json_pack("{s:{s:{s:[s], s:{s:{s:s, s:s, s:o}}}, s:o*}}", "auth", "identity",
			 "methods", "password", "password", "user", "name", c->username, "password",
			 c->password, "domain", domain_of(c->user_domain), "scope", scope);
}

static int read_catalog(struct client *c, const json_t *token, struct err *e)
{
	json_t *catalog = json_object_get(json_object_get(token, "token"), "catalog");
	size_t i, k;
	json_t *service, *endpoint;

	json_array_foreach(catalog, i, service)
		json_array_foreach(json_object_get(service, "endpoints"), k, endpoint) {
			const char *iface = json_str(endpoint, "interface"),
				   *url = json_str(endpoint, "url");

			if (iface && strcmp(iface, "public") == 0 && url && json_str(service, "type"))
				json_object_set_new(c->endpoints, json_str(service, "type"),
						    json_string(url));
		}
	if (json_object_size(c->endpoints) == 0)
		return err_set(e, FAULT_FORBIDDEN, "project_name",
			       "the token has no service catalog: name a project in clouds.yaml");
	return 0;
}

static int authenticate(struct client *c, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	struct str base = str_of(c->cloud.auth_url);
	json_t *body CLEANUP(json_freep) = auth_body(&c->cloud);
	json_t *token CLEANUP(json_freep) = NULL;
	int rc;

	while (base.len && base.ptr[base.len - 1] == '/')
		base.len--;
	strbuf_addf(&url, STR_FMT "%s/auth/tokens", STR_ARG(base),
		    str_ends(base, STR("/v3")) ? "" : "/v3");
	rc = exchange_json(c, "POST", strbuf_cstr(&url), body, &token, e);
	if (rc < 0)
		return rc;
	c->token = strdup(c->subject_token);
	if (!c->token || !*c->token)
		return err_set(e, FAULT_PROTOCOL, NULL, "%s gave no token", strbuf_cstr(&url));
	return read_catalog(c, token, e);
}

/* ---- public ---- */

void client_close(struct client *c)
{
	if (!c)
		return;
	cloud_done(&c->cloud);
	curl_easy_cleanup(c->curl);
	strbuf_done(&c->answer);
	json_decref(c->endpoints);
	free(c->token);
	free(c);
}

void client_closep(struct client **c)
{
	client_close(*c);
}

int client_open(const struct client_options *o, struct client **ret, struct err *e)
{
	struct client *c CLEANUP(client_closep) = calloc(1, sizeof(*c));
	int rc;

	if (!c || !(c->curl = curl_easy_init()) || !(c->endpoints = json_object()))
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	rc = cloud_load(o->cloud, &c->cloud, e);
	if (rc < 0)
		return rc;
	if (o->cacert) {
		free(c->cloud.cacert);
		c->cloud.cacert = strdup(o->cacert);
	}
	rc = authenticate(c, e);
	if (rc == 0)
		*ret = MOVE_PTR(c);
	return rc;
}

void client_set_fresh(struct client *c, bool fresh)
{
	c->fresh = fresh;
}

static int url_of(const struct client *c, const char *service, const char *path,
		  struct strbuf *ret_url, struct err *e)
{
	const char *endpoint = json_str(c->endpoints, service);
	struct str base = str_of(endpoint), part = str_of(path);

	if (!endpoint)
		return err_set(e, FAULT_NOT_FOUND, NULL, "the hub's catalog has no %s service", service);
	while (base.len && base.ptr[base.len - 1] == '/')
		base.len--;
	/* A catalog may name the version, or leave it to the caller: "/v2.0" is not said twice. */
	for (size_t n = 1; n < part.len; n++) {
		struct str version = { part.ptr, n };

		if (part.ptr[n] == '/' && str_ends(base, version)) {
			part = (struct str){ part.ptr + n, part.len - n };
			break;
		}
		if (part.ptr[n] == '/')
			break;
	}
	strbuf_addf(ret_url, STR_FMT STR_FMT, STR_ARG(base), STR_ARG(part));
	return 0;
}

int client_call(struct client *c, const char *method, const char *service, const char *path,
		const json_t *body, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	int rc = url_of(c, service, path, &url, e);

	return rc < 0 ? rc : exchange_json(c, method, strbuf_cstr(&url), body, ret, e);
}

int client_upload(struct client *c, const char *service, const char *path, struct str bytes,
		  struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	int rc = url_of(c, service, path, &url, e);

	return rc < 0 ? rc :
			exchange(c, "PUT", strbuf_cstr(&url), "application/octet-stream", bytes,
				 NULL, e);
}

/* Some services take no name filter, or match parts of names: only equal ones count. Returns 1 found, 0 not. */
static int one_named(const json_t *list, const char *singular, const char *what, json_t **ret,
		     struct err *e)
{
	json_t *found = NULL, *row;
	size_t i, n = 0;

	json_array_foreach(list, i, row) {
		const char *name = json_str(row, "name");

		if (name && strcmp(name, what) == 0) {
			found = row;
			n++;
		}
	}
	if (n > 1)
		return err_set(e, FAULT_CONFLICT, NULL, "%zu %ss are named \"%s\": use the id", n,
			       singular, what);
	*ret = json_incref(found);
	return (int)n;
}

int client_find(struct client *c, const char *service, const char *path, const char *plural,
		const char *singular, const char *what, json_t **ret, struct err *e)
{
	struct strbuf url CLEANUP(strbuf_done) = { 0 };
	json_t *answer CLEANUP(json_freep) = NULL;
	json_t *inner;
	char *escaped = curl_easy_escape(c->curl, what, 0);
	int rc;

	if (!escaped)
		return err_set(e, FAULT_NO_MEMORY, NULL, "out of memory");
	strbuf_addf(&url, "%s?name=%s", path, escaped);
	rc = client_call(c, "GET", service, strbuf_cstr(&url), NULL, &answer, e);
	if (rc == 0)
		rc = one_named(json_object_get(answer, plural), singular, what, ret, e);
	if (rc) {
		curl_free(escaped);
		return rc < 0 ? rc : 0;
	}
	strbuf_done(&url);
	url = (struct strbuf){ 0 };
	strbuf_addf(&url, "%s/%s", path, escaped);
	curl_free(escaped);
	json_decref(MOVE_PTR(answer));
	rc = client_call(c, "GET", service, strbuf_cstr(&url), NULL, &answer, e);
	if (rc < 0)
		return e && e->fault == FAULT_NOT_FOUND ?
			       err_set(e, FAULT_NOT_FOUND, NULL,
				       "there is no %s with the name or id \"%s\"", singular, what) :
			       rc;
	inner = json_object_get(answer, singular);
	*ret = json_incref(inner ? inner : answer);
	return 0;
}
