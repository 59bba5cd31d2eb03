/*
 * test_gemm_double.c - test_gemm.c with doubles
 */
#include "test_gemm.c"
