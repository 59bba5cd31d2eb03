/*
 * fixture.c - reads the records of test/fixture/unit_*.bin
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECORDS 64

typedef struct record {
    char name[64];
    uint64_t count;
    float *data;
} record;

struct fixture {
    size_t count;
    record records[MAX_RECORDS];
};

/* Reads one record; returns 0 at the end of the file or on a broken record. */
static int read_record(FILE *file, record *r) {
    uint32_t length;

    if (fread(&length, 4, 1, file) != 1 || length >= sizeof r->name ||
        fread(r->name, 1, length, file) != length || fread(&r->count, 8, 1, file) != 1 ||
        r->count > 1 << 24)
        return 0;
    r->name[length] = 0;
    r->data = malloc(r->count * sizeof(float));
    return r->data && fread(r->data, sizeof(float), r->count, file) == r->count;
}

fixture *fixture_open(const char *name) {
    const char *folder = getenv("GANN_FIXTURES");
    char path[4096];
    FILE *file;
    fixture *f = calloc(1, sizeof *f);

    snprintf(path, sizeof path, "%s/%s", folder ? folder : "test/fixture", name);
    file = fopen(path, "rb");
    if (!file || !f) {
        free(f);
        return NULL;
    }
    while (f->count < MAX_RECORDS && read_record(file, &f->records[f->count]))
        f->count++;
    fclose(file);
    return f;
}

const float *fixture_get(const fixture *f, const char *name, size_t count) {
    for (size_t i = 0; f && i < f->count; i++)
        if (strcmp(f->records[i].name, name) == 0) {
            if (count)
                assert_int_equal(f->records[i].count, count);
            return f->records[i].data;
        }
    fail_msg("the fixture has no record \"%s\"", name);
    return NULL;
}

uint64_t fixture_word64(const float *w) {
    return (uint64_t)w[0] | (uint64_t)w[1] << 16 | (uint64_t)w[2] << 32 | (uint64_t)w[3] << 48;
}

void fixture_close(fixture *f) {
    for (size_t i = 0; f && i < f->count; i++)
        free(f->records[i].data);
    free(f);
}
