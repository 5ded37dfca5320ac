/* SPDX-License-Identifier: Apache-2.0 */
#include "link/line.h"

#include <linux/sockios.h>
#include <linux/tcp.h> /* struct tcp_info in netinet/tcp.h ends before what is asked for here */
#include <netinet/in.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define AHEAD_MS 250
#define AHEAD_MIN (16u << 10) /* bytes */
#define AHEAD_MAX (1u << 20)

bool line_takes_bulk(int fd)
{
	struct tcp_info t = { 0 };
	socklen_t size = sizeof(t);
	uint64_t enough;
	int under_way = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &size) < 0 || ioctl(fd, SIOCOUTQ, &under_way) < 0)
		return true;
	enough = t.tcpi_delivery_rate / 1000 * AHEAD_MS; /* the rate is in bytes a second */
	return (uint64_t)under_way < MIN_OF(MAX_OF(enough, (uint64_t)AHEAD_MIN), (uint64_t)AHEAD_MAX);
}
