/*
 * cache.h - files that spare a program from doing slow work again, in the user's cache folder
 *
 * Nothing depends on them: what can't be read, or isn't what was asked for, counts as missing, and
 * what can't be written is left out.
 */
#ifndef DCGAN_GPU_CACHE_H
#define DCGAN_GPU_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* Continues a 64-bit FNV-1a hash, which begins with CACHE_HASH. */
#define CACHE_HASH UINT64_C(0xcbf29ce484222325)
uint64_t cache_hash(uint64_t hash, const void *data, size_t bytes);

/* Reads what was kept under a key, a text; returns null, or memory to be freed. */
void *cache_read(const char *key, size_t *bytes);

/* Keeps data under a key, in place of what was there. */
void cache_write(const char *key, const void *data, size_t bytes);

#endif
