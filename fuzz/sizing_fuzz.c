/* SPDX-License-Identifier: Apache-2.0 */
/* Any report of a simulator: what is read has figures within bounds, and no table claims more nodes than were tried. */
#include "fuzz.h"

#include <math.h>

#include "cli/sizing.h"

#define NODES 100u

static const struct sizing_goal goal = {
	.allowed = { [BY_STORM] = 60, [BY_API] = 100, [BY_CHANGES] = 90, [BY_CPU] = 50, [BY_MEMORY] = 80, [BY_FILES] = 500 },
	.factor = 1.5,
	.churn = 10,
	.n_cpus = 2,
	.memory_mb = 1000,
};

static void check_sizing(const struct sizing_rung *rungs, size_t n)
{
	struct sizing s;

	sizing_of(&goal, rungs, n, &s);
	FUZZ_CHECK(s.nodes <= s.tried && s.tried == rungs[n - 1].nodes);
	FUZZ_CHECK(s.by >= -1 && s.by < BY_COUNT && s.is_met == (rungs[n - 1].failed != 0));
	FUZZ_CHECK(!s.is_met || s.by >= 0);
	for (int by = 0; by < BY_COUNT; by++)
		FUZZ_CHECK(s.limits[by].nodes >= 0); /* not NAN, either */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sizing_report r;
	struct sizing_rung rungs[2];
	struct err e = { 0 };

	if (sizing_read((struct str){ (const char *)data, size }, "storm", NODES, &r, &e) < 0) {
		FUZZ_CHECK(*e.msg);
		return 0;
	}
	FUZZ_CHECK(isnan(r.steady_s) || r.steady_s >= -1);
	FUZZ_CHECK(!(r.hub_cpu_s < 0) && !(r.lost < 0) && !(r.peak_mb < 0) && !(r.up_s < 0));
	sizing_rung(&goal, NODES, 10, &r, &r, NULL, &rungs[0]);
	r.steady_s *= 3;
	r.hub_cpu_s *= 2;
	sizing_rung(&goal, 2 * NODES, 10, &r, &r, &r, &rungs[1]);
	check_sizing(rungs, 1);
	rungs[0].failed = 0;
	check_sizing(rungs, 2);
	return 0;
}
