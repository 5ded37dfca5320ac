/* SPDX-License-Identifier: Apache-2.0 */

/* Every program of every object loads, and costs the verifier of the running kernel no more than verifier.h says. */

#include "verifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* Needs <setjmp.h>, <stdarg.h> and <stddef.h>. */
#include <cmocka.h>

#include "maps.h"

/* Needs maps.h. */
#include "dp.skel.h"
#include "metadata.skel.h"
#include "xdp.skel.h"

#define COMPLEXITY_LIMIT 1000000 /* BPF_COMPLEXITY_LIMIT_INSNS */
#define OTHER_KERNELS (COMPLEXITY_LIMIT / 2)
#define LOG_TAIL 3000

struct row {
	const char *kernel, *program;
	unsigned int count;
};

static const struct row rows[] = {
#define X(kernel, program, count) { kernel, program, count },
	VERIFIER_TABLE(X)
#undef X
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* "6.1" of "6.1.0-50-cloud-amd64". */
static const char *kernel(void)
{
	static char release[16];
	struct utsname u;
	char *dot;

	assert_int_equal(uname(&u), 0);
	snprintf(release, sizeof(release), "%.15s", u.release);
	dot = strchr(release, '.');
	assert_non_null(dot);
	dot[1 + strspn(dot + 1, "0123456789")] = 0;
	return release;
}

static const struct row *row_of(const char *program)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (!strcmp(rows[i].kernel, kernel()) && !strcmp(rows[i].program, program))
			return &rows[i];
	return NULL;
}

static bool kernel_has_rows(void)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (!strcmp(rows[i].kernel, kernel()))
			return true;
	return false;
}

/* Returns whether it costs what it may. */
static bool check(const struct bpf_program *p)
{
	const char *name = bpf_program__name(p);
	const struct row *row = row_of(name);
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	unsigned int limit = OTHER_KERNELS;

	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len), 0);
	print_message("# Linux %s, %s: %u instructions walked, of %u; %u bytes of machine code\n",
		      kernel(), name, info.verified_insns, info.xlated_prog_len / 8,
		      info.jited_prog_len);
	assert_true(info.verified_insns > 0);
	if (row)
		limit = row->count + row->count / 100 * VERIFIER_SLACK;
	else if (kernel_has_rows())
		limit = 0;
	if (info.verified_insns <= limit)
		return true;
	print_error("%s costs the verifier more than the %u instructions that it may. See what grew (a loop or a branch is "
		    "walked once for each of its states); when it has to be so, the row of tests/bpf/verifier.h "
		    "is X(\"%s\", \"%s\", %u)\n",
		    name, limit, kernel(), name, info.verified_insns);
	return false;
}

static char verifier_log[16 << 20];

static void check_object(const void *elf, size_t size)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = verifier_log,
		    .kernel_log_size = sizeof(verifier_log));
	struct bpf_object *obj = bpf_object__open_mem(elf, size, &opts);
	struct bpf_program *p;
	int n = 0, n_good = 0, r;

	assert_non_null(obj);
	r = bpf_object__load(obj);
	if (r) {
		size_t end = strlen(verifier_log);

		/* cmocka cuts what is longer than a kilobyte. */
		fprintf(stderr, "%s\n", verifier_log + (end > LOG_TAIL ? end - LOG_TAIL : 0));
		fail_msg("the kernel refuses it: %s", strerror(-r));
	}
	bpf_object__for_each_program(p, obj)
	{
		n++;
		n_good += check(p);
	}
	bpf_object__close(obj);
	assert_true(n > 0);
	assert_int_equal(n_good, n);
}

static void test_programs_of_the_datapath(void **state)
{
	size_t size;
	const void *elf = dp_bpf__elf_bytes(&size);

	check_object(elf, size);
}

static void test_program_of_nics(void **state)
{
	size_t size;
	const void *elf = xdp_bpf__elf_bytes(&size);

	check_object(elf, size);
}

static void test_program_of_the_metadata_service(void **state)
{
	size_t size;
	const void *elf = metadata_bpf__elf_bytes(&size);

	check_object(elf, size);
}

static void test_rows_leave_room(void **state)
{
	for (size_t i = 0; i < N_ROWS; i++)
		assert_true(rows[i].count > 0 && rows[i].count < OTHER_KERNELS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_of_the_datapath),
		cmocka_unit_test(test_program_of_nics),
		cmocka_unit_test(test_program_of_the_metadata_service),
		cmocka_unit_test(test_rows_leave_room),
	};

	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
