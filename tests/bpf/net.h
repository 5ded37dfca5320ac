/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_NET_H
#define DEMARC_TESTS_BPF_NET_H

/*
 * A node in a network namespace of its own, and ports: veth pairs whose other end is in one more namespace.
 * All namespaces are anonymous, so that nothing is left when the process ends, however it ends.
 *
 *      namespace of the node             namespace of the port
 *   [ datapath ] host-side veth <------> eth0 <- packet socket: the test plays the function
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tport {
	int ns;	  /* namespace of the far end */
	int host; /* ifindex of the near end */
	int sock; /* packet socket on the far end */
	uint8_t mac[6];
};

#define FRAME_MAX 2048
struct frame {
	uint8_t b[FRAME_MAX];
	size_t len;
	int vlan;    /* received: tag, or -1 */
	int tpid;    /* received: of the tag */
	int pkttype; /* received: PACKET_HOST, ... */
};

/* Ports that are made take XDP frames: their far end has GRO, and leaves tags in frames. */
extern bool net_xdp;
extern void (*net_before_send)(const struct frame *f);

void net_start(void); /* enters a new namespace: "the node"; aborts on failure */
int ns_new(void);     /* a new namespace; the caller stays in the node's */
void ns_enter(int fd);
void ns_home(void);

/* Host side `host_index`; `ns` < 0: a new namespace. */
void tport_make(struct tport *p, int host_index, const uint8_t mac[6], int ns, const char *peer_name);
/* An offload of a link of the current namespace, as ethtool -K sets it. */
void net_offload(const char *name, uint32_t command, uint32_t value);
void tport_free(struct tport *p);
void link_del(int ifindex);

void tport_send(struct tport *p, const struct frame *f);
/* As a stack does it whose NIC makes checksums: the one at `start` + `at` is left to who sends the frame over a wire (CHECKSUM_PARTIAL). */
void tport_send_partial(struct tport *p, const struct frame *f, uint16_t start, uint16_t at);
/* Waits up to timeout_ms for a frame; false when none came. */
bool tport_recv(struct tport *p, struct frame *f, int timeout_ms);
void tport_drain(struct tport *p);

#endif
