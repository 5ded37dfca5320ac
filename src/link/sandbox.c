/* SPDX-License-Identifier: Apache-2.0 */
#include "link/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

static int drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (syscall(SYS_capset, &head, none) < 0)
		return err_errno(e, errno, "cannot drop capabilities");
	return 0;
}

static int drop_user(const char *user, struct err *e)
{
	struct passwd *pw;

	if (geteuid() != 0)
		return drop_capabilities(e);
	pw = getpwnam(user);
	if (!pw || pw->pw_uid == 0)
		return err_set(e, FAULT_NOT_FOUND, NULL, "there is no user \"%s\" other than root",
			       user);
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
		;
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_errno(e, errno, "cannot become user \"%s\"", user);
	return drop_capabilities(e);
}

static const struct {
	int resource;
	rlim_t limit;
} limits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_NPROC, 0 },
	{ RLIMIT_NOFILE, 32 }, /* the resolver opens a few files and sockets */
	{ RLIMIT_MSGQUEUE, 0 },
};

static int set_limits(struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct rlimit l = { limits[i].limit, limits[i].limit };
		if (setrlimit(limits[i].resource, &l) < 0)
			return err_errno(e, errno, "cannot set a resource limit");
	}
	return 0;
}

/* Memory, time, polling, sockets that connect, and reading the resolver's files. No bind, listen, accept, execve, clone, ptrace, kill. */
static const int allowed[] = {
	SCMP_SYS(read),		  SCMP_SYS(write),	   SCMP_SYS(readv),
	SCMP_SYS(writev),	  SCMP_SYS(close),	   SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),	  SCMP_SYS(stat),	   SCMP_SYS(statx),
	SCMP_SYS(lseek),	  SCMP_SYS(pread64),	   SCMP_SYS(access),
	SCMP_SYS(faccessat),	  SCMP_SYS(readlink),	   SCMP_SYS(mmap),
	SCMP_SYS(munmap),	  SCMP_SYS(mremap),	   SCMP_SYS(mprotect),
	SCMP_SYS(madvise),	  SCMP_SYS(brk),	   SCMP_SYS(poll),
	SCMP_SYS(ppoll),	  SCMP_SYS(select),	   SCMP_SYS(pselect6),
	SCMP_SYS(connect),	  SCMP_SYS(getsockopt),	   SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),	  SCMP_SYS(getpeername),   SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),	  SCMP_SYS(sendmsg),	   SCMP_SYS(recvmsg),
	SCMP_SYS(sendmmsg),	  SCMP_SYS(recvmmsg),	   SCMP_SYS(shutdown),
	SCMP_SYS(fcntl),	  SCMP_SYS(ioctl),	   SCMP_SYS(futex),
	SCMP_SYS(getrandom),	  SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),	  SCMP_SYS(gettimeofday),  SCMP_SYS(time),
	SCMP_SYS(getpid),	  SCMP_SYS(gettid),	   SCMP_SYS(getuid),
	SCMP_SYS(geteuid),	  SCMP_SYS(getgid),	   SCMP_SYS(getegid),
	SCMP_SYS(uname),	  SCMP_SYS(sysinfo),	   SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),	  SCMP_SYS(sigaltstack),   SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),  SCMP_SYS(restart_syscall),
	SCMP_SYS(getdents64),	  SCMP_SYS(exit),	   SCMP_SYS(exit_group),
};
static const int families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };

static int filter_rules(scmp_filter_ctx f)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(allowed); i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(families); i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC,
					      O_RDONLY));
	if (rc == 0)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
				      SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC,
					      O_RDONLY));
	return rc;
}

/* Refused calls fail with EPERM instead of killing: the resolver tries a few things that it can do without. */
static int set_filter(struct err *e)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = f ? filter_rules(f) : -ENOMEM;

	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc < 0 ? err_errno(e, rc, "cannot load the system call filter") : 0;
}

int sandbox_enter(const char *user, struct err *e)
{
	int rc = drop_user(user ? user : "nobody", e);

	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = err_errno(e, errno, "cannot set no_new_privs");
	/* After the change of user, which clears it: the child must not outlive the agent. */
	if (rc == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0))
		rc = err_errno(e, errno, "cannot bind the process to its parent");
	if (rc == 0)
		rc = set_limits(e);
	return rc < 0 ? rc : set_filter(e);
}
