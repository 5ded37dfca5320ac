/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEMARC_TESTS_BPF_VERIFIER_H
#define DEMARC_TESTS_BPF_VERIFIER_H

/*
 * What each program costs the kernel's verifier: instructions that it walks until it believes the program. It gives up at
 * 1,000,000 (BPF_COMPLEXITY_LIMIT_INSNS), and walks more or less of the same program from release to release. Row: kernel,
 * program, count. The test of bpf-verifier allows a tenth more, and says what to write here when a program grew for a
 * good reason. docs/DATAPATH.md shows the table.
 */
#define VERIFIER_SLACK 10 /* percent */
#define VERIFIER_TABLE(X)                                                                          \
	X("6.1", "dp_ingress", 388973)                                                             \
	X("6.1", "dp_walk", 2726)                                                                  \
	X("6.1", "dp_list", 7490)                                                                  \
	X("6.1", "dp_xdp", 431478)                                                                 \
	X("6.1", "metadata", 31)                                                                   \
	X("6.18", "dp_ingress", 336514)                                                            \
	X("6.18", "dp_walk", 4991)                                                                 \
	X("6.18", "dp_list", 7005)                                                                 \
	X("6.18", "dp_xdp", 357802)                                                                \
	X("6.18", "metadata", 31)

#endif
