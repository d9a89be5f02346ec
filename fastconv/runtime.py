"""Threads, memory and facts about this build: the settings of a process, all read and kept in C."""

import os
from typing import Any

from fastconv import _core

__all__ = ["clear_scratch", "get_include", "get_num_threads", "set_exact", "set_num_threads", "show_config"]


def set_num_threads(count: int) -> None:
    """Set the number of threads that one call may use, the calling thread among them.

    Results do not depend on it: work is split by the problem, never by the number of threads.

    Parameters
    ----------
    count : int
        At least 1.  The default is the environment variable ``FASTCONV_NUM_THREADS``, else
        ``OMP_NUM_THREADS``, else the number of CPUs that this process may run on.

    Raises
    ------
    TypeError
        If `count` is no integer.
    ValueError
        If it is below 1.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(1)
    >>> fastconv.get_num_threads()
    1
    >>> fastconv.set_num_threads(before)
    """
    _core.set_num_threads(count)


def get_num_threads() -> int:
    """Return the number of threads that one call may use.

    Returns
    -------
    int

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


def set_exact(exact: bool) -> None:
    """Choose whether ``algorithm="auto"`` may take algorithms that trade accuracy for speed.

    Parameters
    ----------
    exact : bool
        True to allow only algorithms that multiply every weight with every input.  False, the
        default, also allows those with fewer multiplications, which is Winograd's convolution, where
        their error is below 1e-5 of the largest output (docs/accuracy.md).  Plans keep what was set
        when they were made.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_exact(True)
    >>> fastconv.set_exact(False)
    """
    _core.set_exact(exact)


def clear_scratch() -> None:
    """Free the scratch memory of the calling thread and of every idle worker, and what is kept of results.

    Later calls reserve again what they need, which a program can count on: scratch is bounded by
    the caches of the processor, not by the size of an image.  Results of a mebibyte and more leave
    their memory for later ones when the last reference to them is gone, at most 256 MiB in all or
    what the environment variable ``FASTCONV_RESULT_MEMORY`` says in bytes, 0 for none: pages new
    from the system can cost as much time as the convolution.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.clear_scratch()
    """
    _core.clear_scratch()
    _core.clear_results()


def get_include() -> str:
    """Return the folder of ``fastconv.h``, the public C interface.

    Returns
    -------
    str
        For the ``include_dirs`` of an extension module.

    Examples
    --------
    >>> import fastconv, os
    >>> os.path.isabs(fastconv.get_include())
    True
    """
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "include")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(package), "src_c", "include")  # an editable installation


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print, or return, what is known of this build and this machine.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Whether to print or to return a dict, as in `numpy.show_config`.

    Returns
    -------
    dict or None
        With ``mode="dicts"``: version, compiler, cpu, isa (in use), isas (built in and present),
        wide_fmas (512-bit multiply-adds that start in a cycle, where there is AVX-512), l1, l2, l3
        (bytes of cache), threads, default_threads, exact, algorithms, scratch_held, results_held.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.show_config("dicts")["isa"] in fastconv.show_config("dicts")["isas"]
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", got {mode!r}')
    config: dict[str, Any] = {
        **_core.info(),
        "exact": _core.get_exact(),
        "algorithms": _core.algorithms(),
        "scratch_held": _core.scratch_held(),
        "results_held": _core.results_held(),
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key:16}{', '.join(value) if isinstance(value, tuple) else value}")
    return None
