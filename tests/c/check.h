/* CHECK, for the C test programs beside this file: says what does not hold and goes on. */
#ifndef FC_TESTS_CHECK_H
#define FC_TESTS_CHECK_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

static _Atomic int failures;
static void check(bool good, const char *what, const char *file, int line)
{
    if (!good && atomic_fetch_add(&failures, 1) < 40)
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
}
#define CHECK(what) check(what, #what, __FILE__, __LINE__)

typedef struct test {
    const char *name;
    void (*run)(void);
} test;
#define TEST(name) { #name, name }

/* Runs them in order; the program's exit code. */
static int run_tests(const char *program, const test *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const int before = atomic_load(&failures);
        tests[i].run();
        if (atomic_load(&failures) != before)
            fprintf(stderr, "%s failed\n", tests[i].name);
    }
    printf("%s: %d failures\n", program, atomic_load(&failures));
    return atomic_load(&failures) != 0;
}
#endif
