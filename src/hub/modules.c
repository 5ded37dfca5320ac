/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/modules.h"

#include "base/cleanup.h"
#include "hub/rest.h"

/* HUB_MODULES comes from meson.build's list of services. */
const struct module *const hub_modules[] = { &identity_module, HUB_MODULES };
const size_t hub_n_modules = ARRAY_LEN(hub_modules);
