"""Arithmetic of training: variables that libraries read at their first import; so none is imported here."""

from __future__ import annotations

# Same input, same bytes on every x86-64-v3 machine: BLAS and NumPy choose their arithmetic by what the
# processor can do, and threads change the order of sums.
FIXED_ARITHMETIC = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
