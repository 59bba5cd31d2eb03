/*
 * vectorised.h - lets the compiler write a loop once for every width of vector and choose when the
 * program starts
 *
 * Not under the sanitizers, whose runtime is not there yet when the choice is made.
 */
#ifndef DCGAN_VECTORISED_H
#define DCGAN_VECTORISED_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif

#endif
