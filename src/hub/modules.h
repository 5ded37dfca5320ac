/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_HUB_MODULES_H
#define DEMARC_HUB_MODULES_H

/* Every service on the port, in the order of the catalog. */

#include <stddef.h>

struct module;
extern const struct module *const hub_modules[];
extern const size_t hub_n_modules;

#endif
