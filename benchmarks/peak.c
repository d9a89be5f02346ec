/* The peak of this machine, measured: cc -O2 benchmarks/peak.c -o peak && ./peak
 * The program lies in the package, so that `fastconv bench` finds it where fastconv is installed too. */
#include "../fastconv/bench/peak.c"
