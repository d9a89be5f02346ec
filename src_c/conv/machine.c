/* fc_machine_for: the constants behind every predicted time.
 *
 * They are written down per instruction set rather than measured at start-up: the choice of an
 * algorithm decides the last bits of a result, and a result must not depend on how busy the machine
 * was.  Only their ratios matter.  Cache sizes are the machine's own. */
#include "../base/cpu.h"
#include "../base/size.h"
#include "algorithm.h"
#include <pthread.h>

/* Multiply-adds of one core with float32, counted as two operations, per second at about 3.2 GHz. */
static const double peak_f32[FC_ISA_COUNT] = {
    [FC_ISA_SCALAR] = 12e9, [FC_ISA_AVX2] = 102e9, [FC_ISA_AVX512] = 170e9, [FC_ISA_NEON] = 51e9,
};
/* Of a cache that many cores share, which may be hundreds of megabytes and as slow as memory: measured. */
static const int64_t most_l3 = 32 << 20;
static const double l2_bandwidth = 60e9, memory_bandwidth = 12e9;

static fc_machine machines[2][FC_ISA_COUNT][2], halves[2]; /* by wide multiply-adds in a cycle, less one */
static pthread_once_t machines_once = PTHREAD_ONCE_INIT;

static void fill_machines(int wide_fmas)
{
    const fc_cpu *cpu = fc_cpu_get();
    for (int isa = 0; isa < FC_ISA_COUNT; isa++)
        for (int dtype = FC_F32; dtype <= FC_F64; dtype++) {
            const fc_table *table = fc_table_of((fc_isa)isa, (fc_dtype)dtype);
            machines[wide_fmas - 1][isa][dtype] = (fc_machine){
                .flops = dtype == FC_F32 ? peak_f32[isa] : peak_f32[isa] / 2,
                .multiply = isa == FC_ISA_AVX512 && wide_fmas == 1 ? 2 : 1,
                .l2_bytes = l2_bandwidth, .memory_bytes = memory_bandwidth,
                .l1 = cpu->l1, .l2 = cpu->l2, .l3 = fc_min(cpu->l3, most_l3),
                .lanes = table ? table->lanes : 1,
                .table = table,
            };
        }
}

/* A CPU that starts one whole multiply-add in a cycle starts two of half the lanes. */
static void fill_halves(void)
{
    for (int dtype = FC_F32; dtype <= FC_F64; dtype++) {
        fc_machine *whole = &machines[0][FC_ISA_AVX512][dtype], *half = &halves[dtype];
        *half = *whole;
        half->table = fc_table_of(FC_ISA_AVX2, (fc_dtype)dtype);
        if (!half->table)
            continue;
        half->flops = whole->flops / 2;
        half->multiply = 1;
        half->halved = true;
        half->lanes = half->table->lanes;
        whole->half = half;
    }
}

static void fill(void)
{
    fill_machines(1);
    fill_machines(2);
    fill_halves();
}

const fc_machine *fc_machine_for(fc_dtype dtype)
{
    pthread_once(&machines_once, fill);
    return &machines[fc_dispatch_wide_fmas() - 1][fc_dispatch_isa()][dtype];
}

const fc_machine *fc_machine_fitting(const fc_machine *machine, int64_t channels)
{
    if (!machine->half)
        return machine;
    const int64_t whole = fc_div_up(channels, machine->lanes), half = fc_div_up(channels, machine->half->lanes);
    return 6 * half <= 5 * 2 * whole ? machine->half : machine;
}

const fc_table *fc_table_fitting(const fc_table *table, fc_dtype dtype, int64_t channels)
{
    const fc_machine *machine = fc_machine_for(dtype), *fitting = fc_machine_fitting(machine, channels);
    return fitting == machine ? table : fitting->table;
}
