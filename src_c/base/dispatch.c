/* The list of kernel tables in this build and the choice among them (see dispatch.h).
 * Initialised once by _core at import; read by every call. */
#include "dispatch.h"
#include <stdio.h>
#include <string.h>

typedef struct build {
    fc_isa isa;
    const fc_table *table[2];   /* by fc_dtype */
} build;

/* Best first.  The scalar build of every kernel is in every build of the library, and last. */
#define FC_BUILD(NAME, name) { FC_ISA_##NAME, { [FC_F32] = &fc_table_##name##_f32, [FC_F64] = &fc_table_##name##_f64 } }
extern const fc_table fc_table_scalar_f32, fc_table_scalar_f64, fc_table_avx2_f32, fc_table_avx2_f64,
    fc_table_avx512_f32, fc_table_avx512_f64, fc_table_neon_f32, fc_table_neon_f64;
static const build builds[] = {
#ifdef FC_HAVE_AVX512
    FC_BUILD(AVX512, avx512),
#endif
#ifdef FC_HAVE_AVX2
    FC_BUILD(AVX2, avx2),
#endif
#ifdef FC_HAVE_NEON
    FC_BUILD(NEON, neon),
#endif
    FC_BUILD(SCALAR, scalar),
};
enum { BUILDS = sizeof builds / sizeof builds[0] };

static const build *chosen = &builds[BUILDS - 1];
static int wide_fmas;       /* 0 for those of the CPU */

/* The build of an ISA, or NULL where this library has none or this CPU cannot run it. */
static const build *find(fc_isa isa)
{
    for (int i = 0; i < BUILDS; i++)
        if (builds[i].isa == isa && fc_cpu_get()->has[isa])
            return &builds[i];
    return NULL;
}

/* "avx2, scalar": the ISAs that this library was built for, or that this CPU has, best first. */
static void list_isas(char *text, size_t size, bool built)
{
    static const fc_isa order[] = { FC_ISA_AVX512, FC_ISA_AVX2, FC_ISA_NEON, FC_ISA_SCALAR };
    size_t length = 0;
    text[0] = 0;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        bool listed = !built && fc_cpu_get()->has[order[i]];
        for (int j = 0; built && j < BUILDS; j++)
            listed = listed || builds[j].isa == order[i];
        if (listed)
            length += (size_t)snprintf(text + length, size - length, "%s%s", length ? ", " : "",
                                       fc_isa_name(order[i]));
    }
}

fc_status fc_dispatch_init(const char *forced, fc_error *error)
{
    const build *best = NULL;
    for (int i = 0; i < BUILDS && !best; i++)
        if (!forced || !forced[0] || strcmp(forced, fc_isa_name(builds[i].isa)) == 0)
            best = find(builds[i].isa);
    if (!best) {
        char built[64], present[64];
        list_isas(built, sizeof built, true);
        list_isas(present, sizeof present, false);
        return fc_fail(error, FC_BAD_VALUE,
                       "FASTCONV_ISA: \"%.32s\" cannot be used here: this build has %s; this CPU (%s) has %s", forced,
                       built, fc_cpu_get()->name, present);
    }
    chosen = best;
    return FC_OK;
}

fc_isa fc_dispatch_isa(void)
{
    return chosen->isa;
}

int fc_dispatch_wide_fmas(void)
{
    return wide_fmas ? wide_fmas : fc_cpu_get()->one_wide_fma ? 1 : 2;
}

void fc_dispatch_set_wide_fmas(int count)
{
    wide_fmas = count;
}

const fc_table *fc_table_for(fc_dtype dtype)
{
    return chosen->table[dtype];
}

const fc_table *fc_table_of(fc_isa isa, fc_dtype dtype)
{
    const build *found = find(isa);
    return found ? found->table[dtype] : NULL;
}
