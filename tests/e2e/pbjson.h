/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_PBJSON_H
#define DEMARC_TESTS_PBJSON_H

/* Protobuf messages from and to JSON by their descriptors: what tests write and read. Names as in the schema, enums by
 * name or number, bytes in hex, maps as lists of {key, value}. */

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* NULL when j has a field that the message has not, or a wrong type. Free with protobuf_c_message_free_unpacked(). */
ProtobufCMessage *pbjson_message(const ProtobufCMessageDescriptor *d, const json_t *j);
json_t *pbjson_tree(const ProtobufCMessage *m);

#endif
