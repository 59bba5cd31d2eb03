/*
 * test_winograd_double.c - the same tests with doubles (the Makefile defines DCGAN_DOUBLE)
 */
#include "test_winograd.c"
