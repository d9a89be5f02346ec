# The door through which XLA's threads come: they call a Python function, but not once the interpreter is ending.
# Included by _core.pyx, for _xla.py.  A thread of XLA that waits for an interpreter which is gone waits for ever,
# and XLA for it; calls are therefore counted, and refused without Python from `xla_close` on.

cdef extern from *:
    """
    #include <stdatomic.h>
    #include <stdint.h>
    #include <time.h>

    enum { FC_XLA_API = 2, FC_XLA_ERROR_CREATE = 6, FC_XLA_CANCELLED = 1 }; /* words, as in _xla.py, and a code */

    static atomic_int fc_xla_running, fc_xla_closed;

    static int fc_xla_enter(void) {
        atomic_fetch_add(&fc_xla_running, 1);
        if (!atomic_load(&fc_xla_closed))
            return 1;
        atomic_fetch_sub(&fc_xla_running, 1);
        return 0;
    }

    static void fc_xla_leave(void) { atomic_fetch_sub(&fc_xla_running, 1); }

    static void fc_xla_shut(void) {
        const struct timespec nap = {0, 1000000};
        atomic_store(&fc_xla_closed, 1);
        while (atomic_load(&fc_xla_running))
            nanosleep(&nap, NULL);
    }

    static void* fc_xla_refusal(const void* frame) {
        struct {
            size_t size;
            void* extension;
            const char* message;
            int code;
        } why = {sizeof(why), NULL, "fastconv: the interpreter is ending", FC_XLA_CANCELLED};
        const intptr_t* api = (const intptr_t*)((const intptr_t*)frame)[FC_XLA_API];
        return ((void* (*)(void*))api[FC_XLA_ERROR_CREATE])(&why);
    }
    """
    bint fc_xla_enter() noexcept nogil
    void fc_xla_leave() noexcept nogil
    void fc_xla_shut() noexcept nogil
    void* fc_xla_refusal(const void* frame) noexcept nogil

cdef object xla_function = None


cdef void* xla_call(void* frame) noexcept nogil:
    cdef uintptr_t error
    if not fc_xla_enter():
        return fc_xla_refusal(frame)
    with gil:
        error = xla_function(<uintptr_t>frame)
    fc_xla_leave()
    return <void*>error


def xla_entry(function):
    """Return the address of a C function (void* -> void*) that calls a Python one (int -> int)."""
    global xla_function
    xla_function = function
    return <uintptr_t>&xla_call


def xla_close():
    """Let calls under way finish, and refuse all others from then on."""
    with nogil:
        fc_xla_shut()
