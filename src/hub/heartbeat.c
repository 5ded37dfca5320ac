/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session_impl.h"

#include "base/cleanup.h"

/*
 * Five seconds for a few, and no more than some hundred heartbeats a second for all: the interval grows with the number of nodes, and with the
 * time that a front takes to answer. What the operator sets is what holds.
 */
uint32_t heartbeat_ms(uint32_t fixed_s, uint32_t n_nodes, double strain)
{
	double ms = (double)n_nodes * 1000 / SESSION_HEARTBEATS_PER_S;

	if (fixed_s)
		return fixed_s * 1000;
	ms = MAX_OF(ms, (double)SESSION_HEARTBEAT_MIN_MS) * strain;
	return (uint32_t)MIN_OF(ms, (double)SESSION_HEARTBEAT_MAX_MS);
}

uint32_t heartbeat_silence_ms(uint32_t told_ms)
{
	return told_ms + MIN_OF(MAX_OF(told_ms, SESSION_GRACE_MIN_MS), SESSION_GRACE_MAX_MS);
}
