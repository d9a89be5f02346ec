# Threads, instruction sets, memory and facts about the build.  Included by _core.pyx, for runtime.py
# and the tests.

def set_num_threads(count):
    """Set the number of threads; runtime.py documents it."""
    cdef int64_t threads = integer(count, "count")
    if threads < 1 or threads > INT_MAX:
        raise ValueError(f"count must be between 1 and {INT_MAX}, got {threads}")
    with nogil:
        fc_set_num_threads(<int>threads)


def get_num_threads():
    """Return the number of threads."""
    return fc_get_num_threads()


def set_exact(exact):
    """Allow algorithms with fewer multiplications, or not; runtime.py documents it."""
    global exact_mode
    if not isinstance(exact, (bool, numpy.bool_)):
        raise TypeError(f"exact must be a bool, got {kind(exact)} {short(exact)}")
    exact_mode = bool(exact)


def get_exact():
    """Return what set_exact was last given."""
    return exact_mode


def clear_scratch():
    """Free the scratch memory of this thread and of idle workers."""
    with nogil:
        fc_clear_scratch()


def scratch_held():
    """Return the bytes of scratch that all threads hold."""
    return fc_scratch_held()


def lend_threads(uintptr_t fork, uintptr_t count):
    """Run jobs on another library's threads from now on: addresses of functions as in base/team.h, 0 for none."""
    fc_team_lend(<fc_team_fork><void*>fork, <fc_team_count><void*>count)


def available_isas():
    """Return the names of the instruction sets that are built in and that this CPU has."""
    cdef int isa
    return tuple([fc_isa_name(<fc_isa>isa).decode() for isa in range(<int>FC_ISA_COUNT)
                  if fc_table_of(<fc_isa>isa, FC_F32) != NULL])


def use_isa(name):
    """Choose the kernels of an instruction set; return the name of the one before.  For tests only."""
    cdef fc_error error
    cdef bytes text = name.encode()
    before = fc_isa_name(fc_dispatch_isa()).decode()
    check(fc_dispatch_init(text, &error), &error)
    return before


def use_wide_fmas(int count):
    """Choose as for a CPU that starts so many 512-bit multiply-adds in a cycle, 0 for this one; return how many
    before.  For tests only."""
    before = fc_dispatch_wide_fmas()
    fc_dispatch_set_wide_fmas(count)
    return before


def algorithms():
    """Return the names of all convolution algorithms."""
    cdef int index = 0
    names = []
    while fc_algorithms[index] != NULL:
        names.append(fc_algorithms[index].name.decode())
        index += 1
    return tuple(names)


def info():
    """Return what is known of this build and this machine."""
    cdef const fc_cpu* cpu = fc_cpu_get()
    return {
        "version": FC_VERSION.decode(),
        "compiler": FC_COMPILER.decode().strip(),
        "cpu": cpu.name.decode(errors="replace"),
        "isa": fc_isa_name(fc_dispatch_isa()).decode(),
        "isas": available_isas(),
        "wide_fmas": fc_dispatch_wide_fmas(),
        "l1": cpu.l1,
        "l2": cpu.l2,
        "l3": cpu.l3,
        "threads": fc_get_num_threads(),
        "default_threads": fc_default_num_threads(),
    }


def _choose_isa():
    try:
        use_isa(os.environ.get("FASTCONV_ISA", ""))
    except ValueError as error:
        raise ImportError(str(error)) from None
    count = os.environ.get("FASTCONV_WIDE_FMAS", "0")
    if count not in ("0", "1", "2"):
        raise ImportError(f"FASTCONV_WIDE_FMAS must be 1 or 2, or 0 for what the CPU says, got {count!r}")
    use_wide_fmas(int(count))


_choose_isa()


cdef extern from "conv/public.h":
    ctypedef struct fastconv_api:
        int version
    const fastconv_api fc_public_api
    const char* FASTCONV_CAPSULE

cdef extern from "Python.h":
    object PyCapsule_New(void* pointer, const char* name, void* destructor)

_C_API = PyCapsule_New(<void*>&fc_public_api, FASTCONV_CAPSULE, NULL)
