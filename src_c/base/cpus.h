/* How many CPUs this process may use, and what the environment asks for.  Used by parallel.c. */
#ifndef FC_BASE_CPUS_H
#define FC_BASE_CPUS_H
#include <stdbool.h>

enum { FC_MOST_THREADS = 1024 };

/* The CPUs that affinity and cgroup quota leave to this process, 1 .. FC_MOST_THREADS. */
int fc_cpus_available(void);
/* The quota of a cgroup (v1 or v2) and of all above it in whole CPUs, rounded up; 0 where there is
 * none.  `membership` is /proc/self/cgroup, `root` is /sys/fs/cgroup: tests give their own. */
int fc_cpus_of_cgroup(const char *membership, const char *root);
/* A number of threads: decimal, at least 1, blanks around it allowed; more than FC_MOST_THREADS is
 * that many.  With `list`, OpenMP's "4,2,1" counts as its first.  0 where text is none of this. */
int fc_cpus_parse(const char *text, bool list);
#endif
