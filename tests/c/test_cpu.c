/* Test of what is found out once (src_c/base): CPU, kernel tables, number of threads.  Run by the
 * test suite as a program of its own: prints what failed, exits with 0 where nothing did.
 *
 *   cc -std=c11 -g -O1 -DFC_HAVE_AVX2 tests/c/test_cpu.c src_c/base/[a-z]*.c -lpthread
 *
 * The kernel tables are stubs, so that it needs no kernel and no instruction set. */
#define _GNU_SOURCE
#include "../../src_c/base/cpus.h"
#include "../../src_c/base/dispatch.h"
#include "../../src_c/base/parallel.h"
#include "check.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern const fc_table fc_table_scalar_f32, fc_table_scalar_f64;
const fc_table fc_table_scalar_f32 = { .lanes = 1 }, fc_table_scalar_f64 = { .lanes = 1 };
#ifdef FC_HAVE_AVX2
extern const fc_table fc_table_avx2_f32, fc_table_avx2_f64;
const fc_table fc_table_avx2_f32 = { .lanes = 8 }, fc_table_avx2_f64 = { .lanes = 4 };
#endif
#ifdef FC_HAVE_AVX512
extern const fc_table fc_table_avx512_f32, fc_table_avx512_f64;
const fc_table fc_table_avx512_f32 = { .lanes = 16 }, fc_table_avx512_f64 = { .lanes = 8 };
#endif
#ifdef FC_HAVE_NEON
extern const fc_table fc_table_neon_f32, fc_table_neon_f64;
const fc_table fc_table_neon_f32 = { .lanes = 4 }, fc_table_neon_f64 = { .lanes = 2 };
#endif

static void test_parse(void)
{
    static const struct { const char *text; int alone, list; } cases[] = {
        { NULL, 0, 0 },     { "", 0, 0 },      { "4", 4, 4 },      { " 12\t", 12, 12 }, { "0", 0, 0 },
        { "-3", 0, 0 },     { "+3", 0, 0 },    { "four", 0, 0 },   { "4x", 0, 0 },      { "4.0", 0, 0 },
        { "0x4", 0, 0 },    { "4,2", 0, 4 },   { "3 , 2,1", 0, 3 }, { "4,", 0, 0 },     { ",4", 0, 0 },
        { "4 2", 0, 0 },    { "5,0", 0, 0 },   { "1024", 1024, 1024 }, { "1025", 1024, 1024 },
        { "99999999999999999999999999", 1024, 1024 }, { "007", 7, 7 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK(fc_cpus_parse(cases[i].text, false) == cases[i].alone);
        CHECK(fc_cpus_parse(cases[i].text, true) == cases[i].list);
    }
    unsetenv("FASTCONV_NUM_THREADS"), unsetenv("OMP_NUM_THREADS");
    const int cpus = fc_default_num_threads();
    CHECK(cpus >= 1 && cpus <= sysconf(_SC_NPROCESSORS_CONF));
    setenv("OMP_NUM_THREADS", "6,2", 1);
    CHECK(fc_default_num_threads() == 6);
    setenv("FASTCONV_NUM_THREADS", "3", 1);
    CHECK(fc_default_num_threads() == 3);
    setenv("FASTCONV_NUM_THREADS", "3,2", 1);
    CHECK(fc_default_num_threads() == 6);
    setenv("OMP_NUM_THREADS", "many", 1);
    CHECK(fc_default_num_threads() == cpus);
}

static void put(const char *root, const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s/%s", root, path);
    for (char *p = name + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/')
        *p = 0, mkdir(name, 0700);
    FILE *file = fopen(name, "w");
    CHECK(file && fputs(text, file) >= 0);
    if (file)
        fclose(file);
}

static int quota_of(const char *root, const char *membership)
{
    char name[512];
    put(root, "membership", membership);
    snprintf(name, sizeof name, "%s/membership", root);
    return fc_cpus_of_cgroup(name, root);
}

static void test_cgroup(void)
{
    char root[] = "/tmp/test_base_XXXXXX", command[64];
    CHECK(mkdtemp(root));
    CHECK(fc_cpus_of_cgroup("/nonexistent", root) == 0);
    CHECK(quota_of(root, "0::/\n") == 0);
    put(root, "a/cpu.max", "250000 100000\n");
    put(root, "a/b/cpu.max", "max 100000\n");
    put(root, "a/c/cpu.max", "100000 100000\n");
    put(root, "cpu/cpu.cfs_quota_us", "-1\n");
    put(root, "cpu/cpu.cfs_period_us", "100000\n");
    put(root, "cpu/d/cpu.cfs_quota_us", "400000\n");
    put(root, "cpu/d/cpu.cfs_period_us", "100000\n");
    CHECK(quota_of(root, "0::/a\n") == 3);
    CHECK(quota_of(root, "0::/a/b\n") == 3);
    CHECK(quota_of(root, "0::/a/c\n") == 1);
    CHECK(quota_of(root, "0::/a/gone/deeper\n") == 3);
    CHECK(quota_of(root, "0::/../a\n") == 0);
    CHECK(quota_of(root, "5:memory:/d\n4:cpuacct,cpu:/d\n0::/\n") == 4);
    CHECK(quota_of(root, "4:cpu,cpuacct:/d/e\n0::/a\n") == 3);
    CHECK(quota_of(root, "4:cpuset:/d\n") == 0);
    CHECK(quota_of(root, "garbage\n::\n") == 0);
    put(root, "cpu.max", "50000 100000\n");
    CHECK(quota_of(root, "0::/a\n") == 1);
    put(root, "cpu.max", "99999999999999 1\n");
    CHECK(quota_of(root, "0::/\n") == FC_MOST_THREADS);
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(system(command) == 0);
}

static void test_cpu(void)
{
    const fc_cpu *cpu = fc_cpu_get();
    CHECK(cpu == fc_cpu_get() && cpu->has[FC_ISA_SCALAR]);
    CHECK(cpu->name[0] && cpu->name[0] != ' ' && memchr(cpu->name, 0, sizeof cpu->name));
    CHECK(cpu->l1 >= 4096 && cpu->l1 <= 1 << 20);
    CHECK(cpu->l2 >= cpu->l1 && cpu->l2 <= 1 << 30);
    CHECK(cpu->l3 > cpu->l1);
#if defined(__x86_64__)              /* the compiler's runtime looks at CPUID and XCR0 too */
    CHECK(cpu->has[FC_ISA_AVX2] == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
    CHECK(cpu->has[FC_ISA_AVX512] == (cpu->has[FC_ISA_AVX2] && __builtin_cpu_supports("avx512f")
                                      && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
                                      && __builtin_cpu_supports("avx512bw")));
    CHECK(!cpu->has[FC_ISA_NEON]);
#endif
}

static void test_dispatch(void)
{
    static const fc_isa best_first[] = { FC_ISA_AVX512, FC_ISA_AVX2, FC_ISA_NEON, FC_ISA_SCALAR };
    fc_error error = { FC_OK, "" };
    fc_isa best = FC_ISA_COUNT;
    CHECK(fc_dispatch_isa() == FC_ISA_SCALAR && fc_table_for(FC_F64) == &fc_table_scalar_f64);
    for (int i = 0; i < 4; i++) {
        const fc_isa isa = best_first[i];
        const fc_table *table = fc_table_of(isa, FC_F32);
        if (!table) {
            CHECK(!fc_table_of(isa, FC_F64));
            CHECK(fc_dispatch_init(fc_isa_name(isa), &error) == FC_BAD_VALUE && error.status == FC_BAD_VALUE);
            CHECK(strstr(error.text, fc_isa_name(isa)) && strstr(error.text, fc_cpu_get()->name));
            continue;
        }
        best = best == FC_ISA_COUNT ? isa : best;
        CHECK(fc_cpu_get()->has[isa]);
        CHECK(fc_dispatch_init(fc_isa_name(isa), &error) == FC_OK && fc_dispatch_isa() == isa);
        CHECK(fc_table_for(FC_F32) == table && fc_table_for(FC_F64) == fc_table_of(isa, FC_F64));
    }
    CHECK(fc_dispatch_init("sse9", &error) == FC_BAD_VALUE);
    CHECK(strstr(error.text, "\"sse9\"") && strstr(error.text, "this build has") && strstr(error.text, "scalar;"));
    CHECK(fc_dispatch_isa() == FC_ISA_SCALAR); /* a refused name changes nothing */
    CHECK(fc_dispatch_init("AVX2", &error) == FC_BAD_VALUE);
    CHECK(fc_dispatch_init("", &error) == FC_OK && fc_dispatch_isa() == best);
    CHECK(fc_dispatch_init("scalar", &error) == FC_OK && fc_dispatch_init(NULL, &error) == FC_OK);
    CHECK(fc_dispatch_isa() == best);
    CHECK(!fc_table_of(FC_ISA_COUNT, FC_F32) && !strcmp(fc_isa_name(FC_ISA_COUNT), "unknown"));
    CHECK(!strcmp(fc_isa_name(FC_ISA_AVX512), "avx512") && !strcmp(fc_isa_name(FC_ISA_NEON), "neon"));
#ifdef FC_HAVE_AVX2
    CHECK(!fc_cpu_get()->has[FC_ISA_AVX2] || fc_table_of(FC_ISA_AVX2, FC_F64) == &fc_table_avx2_f64);
#endif
}

int main(void)
{
    static const test tests[] = { TEST(test_cpu), TEST(test_dispatch), TEST(test_parse), TEST(test_cgroup) };
    return run_tests("test_cpu", tests, sizeof tests / sizeof tests[0]);
}
