/*
 * find_data.c - the dataset, where nobody has said where it is
 */
#define _POSIX_C_SOURCE 200809L

#include "find_data.h"
#include "display.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* The usual places, and what colours their images have (0: one can't know). "~" is the home folder. */
static const struct {
    const char *path;
    unsigned channels;
} places[] = {
    {"img_align_celeba.zip", 3},       {"img_align_celeba", 3},
    {"~/img_align_celeba.zip", 3},     {"~/Downloads/img_align_celeba.zip", 3},
    {"train-images-idx3-ubyte.gz", 1}, {"/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", 1},
};

static void report(void *context, const char *message) {
    (void)context;
    display_warn("%s", message);
}

/* Opens a dataset and shows why that fails. */
static dataset *open_shown(const options *o, const char *path) {
    char error[1024];
    dataset *data = dataset_open(path, o->cache_mb << 20, report, NULL, error, sizeof error);

    if (data == NULL)
        display_warn("%s", error);
    return data;
}

/* Tells whether a run is trained on these images, as far as it says. */
static bool is_wanted(const dataset *data, const server_run *run) {
    unsigned char digest[DATASET_DIGEST_SIZE];

    if (run == NULL || !run->dataset_known)
        return true;
    dataset_digest(data, digest);
    return dataset_count(data) == run->dataset_images &&
           memcmp(digest, run->dataset_digest, sizeof digest) == 0;
}

/* Writes a place's path; returns false if it doesn't fit or there is no such file. */
static bool expand(const char *place, char path[PATH_SIZE]) {
    const char *home = place[0] == '~' ? getenv("HOME") : "";

    return home != NULL && snprintf(path, PATH_SIZE, "%s%s", home, place + (place[0] == '~')) < PATH_SIZE &&
           access(path, R_OK) == 0;
}

/* Says that nothing was found, and what to do. */
static void not_found(const server_run *run, const char *other) {
    char which[120] = "";

    if (run != NULL && run->dataset_known) {
        size_t used = (size_t)snprintf(which, sizeof which, " with %llu images and digest ",
                                       (unsigned long long)run->dataset_images);
        for (size_t i = 0; i < 8; i++)
            used += (size_t)snprintf(which + used, sizeof which - used, "%02x", run->dataset_digest[i]);
        snprintf(which + used, sizeof which - used, "…");
    }
    if (other[0] != '\0')
        display_warn("%s has other images than the run", other);
    display_warn(
        "the class's dataset%s was not found; say where it is: --data PATH, or GANN_DATA in the environment\n"
        "looked for: img_align_celeba.zip here, in your home and in Downloads, and Debian's "
        "dataset-fashion-mnist",
        which);
}

dataset *find_data(const options *o, const server_run *run) {
    const char *named = o->data != NULL ? o->data : getenv("GANN_DATA");
    char path[PATH_SIZE], error[1024], other[PATH_SIZE] = "";

    if (named != NULL && named[0] != '\0')
        return open_shown(o, named);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        dataset *data;

        if ((run != NULL && !run->dataset_known && run->network.channels != places[i].channels) ||
            !expand(places[i].path, path) ||
            (data = dataset_open(path, o->cache_mb << 20, report, NULL, error, sizeof error)) == NULL)
            continue;
        if (is_wanted(data, run)) {
            display_say("found %s", path);
            return data;
        }
        memcpy(other, path, sizeof other);
        dataset_close(data);
    }
    not_found(run, other);
    return NULL;
}
