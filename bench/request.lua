-- SPDX-License-Identifier: Apache-2.0
-- wrk script: one kind of request over and over. Environment: METHOD, BODY (a file), TOKEN. Prints one JSON line at the end.
wrk.method = os.getenv("METHOD") or "GET"
if os.getenv("TOKEN") then wrk.headers["X-Auth-Token"] = os.getenv("TOKEN") end
if os.getenv("BODY") then
	local file = assert(io.open(os.getenv("BODY"), "rb"))
	wrk.body = file:read("*a")
	file:close()
	wrk.headers["Content-Type"] = "application/json"
end

function done(summary, latency, requests)
	io.write(string.format('{"requests": %d, "seconds": %.3f, "per_second": %.1f, "p99_ms": %.2f, "bad": %d}\n',
		summary.requests, summary.duration / 1e6, summary.requests / (summary.duration / 1e6), latency:percentile(99) / 1000,
		summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
