/* Counts the CPUs that this process may use: affinity, cgroup quota, environment (see cpus.h).
 * Called by parallel.c when the number of threads is first asked for. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cpus.h"
#include "parallel.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif

static int in_range(int64_t count)
{
    return count < 1 ? 1 : count > FC_MOST_THREADS ? FC_MOST_THREADS : (int)count;
}

static int affinity(void)
{
#if defined(__linux__)
    /* The kernel refuses a set that is smaller than its own, so ask with ever larger ones. */
    for (int most = 1024; most <= 1 << 18; most *= 4) {
        cpu_set_t *set = CPU_ALLOC(most);
        const size_t size = CPU_ALLOC_SIZE(most);
        const int failed = set ? sched_getaffinity(0, size, set) : -1;
        const int count = failed ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
#endif
    return in_range(sysconf(_SC_NPROCESSORS_ONLN));
}

/* Reads up to two numbers; a word such as "max" ends them.  How many were read. */
static int read_numbers(const char *directory, const char *name, long long numbers[2])
{
    char path[1200];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return 0;
    FILE *file = fopen(path, "r");
    const int count = file ? fscanf(file, "%lld %lld", &numbers[0], &numbers[1]) : 0;
    if (file)
        fclose(file);
    return count > 0 ? count : 0;
}

/* The quota of one cgroup in whole CPUs; 0 for none. */
static int64_t quota(const char *directory)
{
    long long v[2], period[2];
    if (read_numbers(directory, "cpu.max", v) != 2) {
        if (read_numbers(directory, "cpu.cfs_quota_us", v) != 1
            || read_numbers(directory, "cpu.cfs_period_us", period) != 1)
            return 0;
        v[1] = period[0];
    }
    return v[0] > 0 && v[1] > 0 ? v[0] / v[1] + (v[0] % v[1] != 0) : 0;
}

/* The least quota on the way from a cgroup up to the root.  A path that does not exist here, as in a
 * container that sees its own cgroup as the root, still ends at the root. */
static int64_t least_quota(const char *root, const char *controller, const char *cgroup)
{
    char directory[1100];
    int64_t least = 0;
    const size_t start = (size_t)snprintf(directory, sizeof directory, "%s%s", root, controller);
    if (start >= sizeof directory)
        return 0;
    if (!strstr(cgroup, ".."))
        snprintf(directory + start, sizeof directory - start, "%s", cgroup);
    for (;;) {
        const int64_t here = quota(directory);
        if (here > 0 && (least == 0 || here < least))
            least = here;
        char *slash = strrchr(directory + start, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

/* Whether a comma-separated list holds "cpu". */
static bool has_cpu(const char *list)
{
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, "cpu", 3) == 0 && (p[3] == 0 || p[3] == ','))
            return true;
    }
    return false;
}

int fc_cpus_of_cgroup(const char *membership, const char *root)
{
    char line[1024];
    int64_t least = 0;
    FILE *file = fopen(membership, "r");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {  /* "hierarchy:controllers:/path" */
        char *controllers = strchr(line, ':');
        char *cgroup = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!cgroup)
            continue;
        *controllers++ = 0;
        *cgroup++ = 0;
        cgroup[strcspn(cgroup, "\n")] = 0;
        int64_t here = 0;
        if (strcmp(line, "0") == 0 && !controllers[0])
            here = least_quota(root, "", cgroup);
        else if (has_cpu(controllers))
            here = least_quota(root, "/cpu", cgroup);
        if (here > 0 && (least == 0 || here < least))
            least = here;
    }
    fclose(file);
    return least > 0 ? in_range(least) : 0;
}

int fc_cpus_available(void)
{
    const int allowed = in_range(affinity());
    const int limit = fc_cpus_of_cgroup("/proc/self/cgroup", "/sys/fs/cgroup");
    return limit > 0 && limit < allowed ? limit : allowed;
}

int fc_cpus_parse(const char *text, bool list)
{
    int first = 0;
    for (const char *p = text; p;) {
        int64_t count = 0;
        p += strspn(p, " \t");
        const size_t digits = strspn(p, "0123456789");
        for (size_t i = 0; i < digits; i++)
            count = count > FC_MOST_THREADS ? count : 10 * count + (p[i] - '0');
        p += digits;
        p += strspn(p, " \t");
        if (count < 1 || (*p && !(list && *p == ',')))
            return 0;
        first = first ? first : in_range(count);
        p = *p ? p + 1 : NULL;
    }
    return first;
}

int fc_default_num_threads(void)
{
    int count = fc_cpus_parse(getenv("FASTCONV_NUM_THREADS"), false);
    if (!count)
        count = fc_cpus_parse(getenv("OMP_NUM_THREADS"), true);
    return count ? count : fc_cpus_available();
}
