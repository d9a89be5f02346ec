/* Choices that a thread remembers: see remember.h.  A place for each hash, whose last problem is kept. */
#include "remember.h"
#include <string.h>

enum { PLACES = 64 };

typedef struct memory {
    fc_conv conv;
    fc_chooser chooser;
    fc_isa isa;
    int wide_fmas;
    const void *choice;                       /* NULL where nothing is kept */
} memory;

/* Of each thread its own, so that none waits for another. */
static _Thread_local memory memories[PLACES];

static memory *place_of(const fc_conv *conv, fc_chooser chooser)
{
    const int64_t numbers[] = { conv->batch, conv->in_channels, conv->out_channels, conv->groups, conv->in_size[1],
                                conv->in_size[2], conv->kernel[1], conv->kernel[2], conv->stride[2], chooser };
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        hash = (hash ^ (uint64_t)numbers[i]) * 0x9E3779B97F4A7C15u;
    return &memories[hash >> 58];             /* the upper bits are the mixed ones: 6 of them, for 64 places */
}

const void *fc_recall(const fc_conv *conv, fc_chooser chooser)
{
    const memory *m = place_of(conv, chooser);
    /* Bytes between fields may differ: then it is priced again. */
    const bool same = m->choice && m->chooser == chooser && m->isa == fc_dispatch_isa() &&
                      m->wide_fmas == fc_dispatch_wide_fmas() && memcmp(&m->conv, conv, sizeof *conv) == 0;
    return same ? m->choice : NULL;
}

void fc_remember(const fc_conv *conv, fc_chooser chooser, const void *choice)
{
    memory *m = place_of(conv, chooser);
    memcpy(&m->conv, conv, sizeof *conv);
    m->chooser = chooser;
    m->isa = fc_dispatch_isa();
    m->wide_fmas = fc_dispatch_wide_fmas();
    m->choice = choice;
}
