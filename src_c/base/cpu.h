/* What this CPU has: instruction sets the OS also saves, cache sizes, name.  Read once. */
#ifndef FC_BASE_CPU_H
#define FC_BASE_CPU_H
#include <stdbool.h>
#include <stdint.h>

typedef enum { FC_ISA_SCALAR, FC_ISA_AVX2, FC_ISA_AVX512, FC_ISA_NEON, FC_ISA_COUNT } fc_isa;

typedef struct fc_cpu {
    char name[64];
    bool has[FC_ISA_COUNT];        /* CPUID and XCR0 agree (x86), or always (NEON on AArch64) */
    bool one_wide_fma;             /* starts one 512-bit multiply-add in a cycle, where others start two */
    int64_t l1, l2, l3;            /* data cache bytes of one core; a default where unknown */
} fc_cpu;

/* Never fails: what cannot be read is left at its default. Safe from any thread. */
const fc_cpu *fc_cpu_get(void);
const char *fc_isa_name(fc_isa isa);
#endif
