/* The floating-point mode of tasks.  Used by parallel.c around every run of tasks. */
#ifndef FC_BASE_FPMODE_H
#define FC_BASE_FPMODE_H
#include <stdint.h>

/* Sets the mode and returns the one before.  The whole mode is set, rounding and exceptions too, so
 * that a caller's own settings cannot make its tasks differ from those of the workers:
 * denormals are zero on input and output, rounding is to nearest, no exception traps. */
static inline uint64_t fc_fp_enter(void)
{
#if defined(__x86_64__)
    uint32_t before;
    const uint32_t tasks = 0x9fc0;            /* FTZ, all exceptions masked, DAZ */
    __asm__ volatile("stmxcsr %0" : "=m"(before));
    __asm__ volatile("ldmxcsr %0" : : "m"(tasks));
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    const uint64_t tasks = 1u << 24;          /* FZ */
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(tasks));
    return before;
#else
    return 0;
#endif
}

/* Puts back what fc_fp_enter returned. */
static inline void fc_fp_leave(uint64_t before)
{
#if defined(__x86_64__)
    const uint32_t mode = (uint32_t)before;
    __asm__ volatile("ldmxcsr %0" : : "m"(mode));
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}
#endif
