/* Reads what this CPU has, once (see cpu.h): CPUID and XCR0 on x86-64, the kernel's files elsewhere.
 * Called by dispatch.c, by the cost model for cache sizes, and by `fastconv info`. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cpu.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static fc_cpu cpu;

#if defined(__x86_64__)
typedef struct registers {
    uint32_t a, b, c, d;
} registers;

/* All zero where the CPU does not know the leaf. */
static registers cpuid(uint32_t leaf, uint32_t subleaf)
{
    registers r = { 0 };
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
    return r;
}

/* The register state that the operating system saves at a context switch. */
static uint64_t saved_state(void)
{
    uint32_t low, high;
    if (!(cpuid(1, 0).c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void read_isas(void)
{
    const uint64_t ymm = 0x06, zmm = 0xe0;    /* XMM and YMM; opmasks, ZMM 0-15 and ZMM 16-31 */
    const uint32_t avx512 = bit_AVX512F | bit_AVX512VL | bit_AVX512DQ | bit_AVX512BW;
    const uint64_t state = saved_state();
    const uint32_t base = cpuid(1, 0).c, extended = cpuid(7, 0).b;
    cpu.has[FC_ISA_AVX2] = (state & ymm) == ymm && (base & bit_AVX) && (base & bit_FMA) && (extended & bit_AVX2);
    cpu.has[FC_ISA_AVX512] = cpu.has[FC_ISA_AVX2] && (state & zmm) == zmm && (extended & avx512) == avx512;
}

/* What Intel's large cores from Sapphire Rapids on have and none of the small ones below: BF16 or FP16 of AVX-512, AMX.
 * Virtual machines may name another model than what they run on. */
static bool is_large_core(void)
{
    const uint32_t bf16 = 1u << 5, fp16_or_amx = 1u << 23 | 1u << 24;
    return (cpuid(7, 1).a & bf16) || (cpuid(7, 0).d & fp16_or_amx);
}

/* Zen 4 computes 512 bits in two halves; the first small cores of Intel's with AVX-512 (Ice Lake, Tiger
 * Lake, Rocket Lake of clients) have one unit that wide.  Makers' optimisation manuals. */
static void read_width(void)
{
    static const uint32_t small_cores[] = { 0x7d, 0x7e, 0x8c, 0x8d, 0xa7 };
    const registers maker = cpuid(0, 0);
    const uint32_t signature = cpuid(1, 0).a, model = (signature >> 4 & 15) | (signature >> 12 & 0xf0);
    uint32_t family = signature >> 8 & 15;
    if (family == 15)
        family += signature >> 20 & 255;
    if (maker.b == signature_AMD_ebx)
        cpu.one_wide_fma = family == 0x19;
    else if (maker.b == signature_INTEL_ebx && family == 6 && !is_large_core())
        for (size_t i = 0; i < sizeof small_cores / sizeof *small_cores; i++)
            cpu.one_wide_fma |= model == small_cores[i];
}

/* The brand string without the spaces that pad it in front, at the end and in between. */
static void read_name(void)
{
    char raw[49] = { 0 };
    size_t length = 0;
    for (uint32_t i = 0; i < 3; i++) {
        const registers r = cpuid(0x80000002 + i, 0);
        memcpy(raw + 16 * i, &r, 16);
    }
    for (const char *p = raw; *p; p++)
        if (*p != ' ' || (length > 0 && cpu.name[length - 1] != ' '))
            cpu.name[length++] = *p;
    while (length > 0 && cpu.name[length - 1] == ' ')
        length--;
    cpu.name[length] = 0;
}

/* Intel's leaf 4 and AMD's 0x8000001D share one layout: a subleaf per cache, ended by type 0. */
static void read_cpuid_caches(uint32_t leaf)
{
    int64_t *const level[] = { &cpu.l1, &cpu.l2, &cpu.l3 };
    for (uint32_t i = 0; i < 16; i++) {
        const registers r = cpuid(leaf, i);
        const uint32_t type = r.a & 31, depth = r.a >> 5 & 7;
        if (type == 0)
            return;
        if (type == 2 || depth < 1 || depth > 3) /* 1 data, 2 instructions, 3 both */
            continue;
        *level[depth - 1] = ((int64_t)(r.b >> 22) + 1) * ((r.b >> 12 & 1023) + 1) * ((r.b & 4095) + 1)
                            * ((int64_t)r.c + 1);
    }
}

static void read_cpu(void)
{
    const bool topology_extensions = cpuid(0x80000001, 0).c & 1u << 22;
    read_isas();
    read_width();
    read_name();
    read_cpuid_caches(topology_extensions ? 0x8000001D : 4);
}
#elif defined(__aarch64__)
/* AArch64 has no brand string: the maker's and the part's numbers stand for it. */
static void read_cpu(void)
{
    unsigned long long midr = 0;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "r");
    cpu.has[FC_ISA_NEON] = true;
    if (!file)
        return;
    if (fscanf(file, "%llx", &midr) == 1)
        snprintf(cpu.name, sizeof cpu.name, "AArch64 implementer 0x%02llx part 0x%03llx", midr >> 24 & 0xff,
                 midr >> 4 & 0xfff);
    fclose(file);
}
#else
static void read_cpu(void)
{
}
#endif

/* Reads one line of a cache's description; empty where there is none. */
static void read_sysfs(int index, const char *what, char *line, size_t size)
{
    char path[96];
    line[0] = 0;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    if (!fgets(line, (int)size, file))
        line[0] = 0;
    fclose(file);
}

/* Fills in the caches that are still unknown from the kernel's files: sizes read "48K" or "2M". */
static void read_sysfs_caches(void)
{
    int64_t *const level[] = { &cpu.l1, &cpu.l2, &cpu.l3 };
    for (int i = 0; i < 8; i++) {
        char text[32], *unit;
        read_sysfs(i, "type", text, sizeof text);
        if (text[0] != 'D' && text[0] != 'U') /* Data, Unified */
            continue;
        read_sysfs(i, "level", text, sizeof text);
        const int depth = atoi(text);
        read_sysfs(i, "size", text, sizeof text);
        const int64_t size = strtoll(text, &unit, 10);
        if (depth < 1 || depth > 3 || size <= 0 || size > INT32_MAX || *level[depth - 1] > 0)
            continue;
        *level[depth - 1] = size * (*unit == 'K' ? 1024 : *unit == 'M' ? 1024 * 1024 : 1);
    }
}

/* The first of: what is known already, what the C library knows, the default. */
static int64_t cache_or(int64_t known, int name, int64_t otherwise)
{
    if (known > 0)
        return known;
    const long size = name < 0 ? -1 : sysconf(name);
    return size > 0 ? size : otherwise;
}

static void read_once(void)
{
    enum { KB = 1024 };
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    const int names[] = { _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE };
#else
    const int names[] = { -1, -1, -1 };
#endif
    cpu.has[FC_ISA_SCALAR] = true;
    read_cpu();
    if (!cpu.name[0])
        snprintf(cpu.name, sizeof cpu.name, "unknown CPU");
    read_sysfs_caches();
    cpu.l1 = cache_or(cpu.l1, names[0], 32 * KB);
    cpu.l2 = cache_or(cpu.l2, names[1], 512 * KB);
    cpu.l3 = cache_or(cpu.l3, names[2], 8192 * KB);
}

const fc_cpu *fc_cpu_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_once);
    return &cpu;
}

const char *fc_isa_name(fc_isa isa)
{
    static const char *const names[FC_ISA_COUNT] = {
        [FC_ISA_SCALAR] = "scalar", [FC_ISA_AVX2] = "avx2", [FC_ISA_AVX512] = "avx512", [FC_ISA_NEON] = "neon"
    };
    return (unsigned)isa < FC_ISA_COUNT ? names[isa] : "unknown";
}
