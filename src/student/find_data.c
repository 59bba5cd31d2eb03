/*
 * find_data.c - the search for the dataset, if --data was not given
 *
 * A dataset that is found but can't be used is named, with the reason. Other images never take its
 * place unless the class is known to train on them.
 */
#define _POSIX_C_SOURCE 200809L

#include "find_data.h"
#include "display.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_SIZE 4096
#define COUNT_SIZE 32
#define DIGITS_SHOWN 8 /* bytes of a digest: nobody compares more than 16 digits */
#define REPORTS_MAX 20

/* The usual places, the dataset that each of them holds, and its channels (0: not known in
 * advance). "~" is the home folder. */
static const struct {
    const char *path, *images;
    unsigned channels;
} places[] = {
    {"img_align_celeba.zip", "CelebA", 3},
    {"img_align_celeba", "CelebA", 3},
    {"~/img_align_celeba.zip", "CelebA", 3},
    {"~/Downloads/img_align_celeba.zip", "CelebA", 3},
    {"~/Downloads/img_align_celeba (1).zip", "CelebA", 3}, /* the second try of a browser */
    {"train-images-idx3-ubyte.gz", "MNIST", 1},
    {"/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", "Fashion-MNIST", 1},
};

#define PLACES (sizeof places / sizeof *places)

/* A search, and what it has found. */
typedef struct search {
    const options *options;
    const wanted_images *wanted;
    const char *unusable; /* dataset that was found but can't be used; NULL: none */
    bool other;           /* images were found that are not the class's */
} search;

/* Shows what dataset.c reports; if many images are broken, only the first lines. */
static void report(void *context, const char *message) {
    static unsigned reports;

    (void)context;
    if (reports < REPORTS_MAX)
        display_warn("%s", message);
    else if (reports == REPORTS_MAX)
        display_warn("There are more images like that. They are not listed.");
    reports++;
}

/* Opens a dataset and shows why that fails. */
static dataset *open_shown(const options *o, const char *path) {
    char error[1024];
    dataset *data = dataset_open(path, o->cache_mb << 20, report, NULL, error, sizeof error);

    if (data == NULL)
        display_warn("%s", error);
    return data;
}

/* Writes a number as people do: 60,000. */
static void count_text(uint64_t number, char text[COUNT_SIZE]) {
    char digits[COUNT_SIZE];
    size_t length = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number), used = 0;

    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = '\0';
}

/* Writes the beginning of a digest. */
static void digest_text(const unsigned char *digest, char text[2 * DIGITS_SHOWN + 1]) {
    for (size_t i = 0; i < DIGITS_SHOWN; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

bool find_data_differs(const dataset *data, const wanted_images *wanted, char *text,
                       size_t text_size) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    char mine[COUNT_SIZE], theirs[COUNT_SIZE], my_digits[2 * DIGITS_SHOWN + 1],
        their_digits[2 * DIGITS_SHOWN + 1];

    dataset_digest(data, digest);
    count_text(dataset_count(data), mine);
    count_text(wanted->count, theirs);
    digest_text(digest, my_digits);
    digest_text(wanted->digest, their_digits);
    if (dataset_count(data) != wanted->count)
        snprintf(text, text_size, "You have %s images, the class has %s", mine, theirs);
    else if (memcmp(digest, wanted->digest, sizeof digest) != 0)
        snprintf(text, text_size,
                 "You have %s images like the class, but not the same ones (digest %s…, the "
                 "class's %s…)",
                 mine, my_digits, their_digits);
    else
        return false;
    return true;
}

/* Opens the dataset that the student has named. The caller compares it with the class's. */
static dataset *open_named(const options *o, const wanted_images *wanted, const char *path) {
    dataset *data = open_shown(o, path);

    if (data != NULL && wanted != NULL && wanted->known)
        (void)dataset_match(data, wanted->count, wanted->digest);
    return data;
}

/* Writes a place's path; returns false if it doesn't fit. */
static bool expand(const char *place, char path[PATH_SIZE]) {
    const char *home = place[0] == '~' ? getenv("HOME") : "";

    return home != NULL &&
           snprintf(path, PATH_SIZE, "%s%s", home, place + (place[0] == '~')) < PATH_SIZE;
}

/* Tells whether there is something at a path, even a broken link or an unfinished download. */
static bool is_there(const char *path) {
    static const char *const endings[] = {"", ".crdownload", ".part", ".partial"};
    char name[PATH_SIZE + 16];
    struct stat status;

    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        (void)snprintf(name, sizeof name, "%s%s", path, endings[i]);
        if (lstat(name, &status) == 0 || (errno != ENOENT && errno != ENOTDIR))
            return true;
    }
    return false;
}

/* Tells whether a dataset is what the class trains on, if that is known; otherwise says why it
 * isn't used. */
static bool is_wanted(search *s, dataset *data, const char *path, const char *images) {
    char difference[256];

    if (s->wanted != NULL && s->wanted->known) {
        if (dataset_match(data, s->wanted->count, s->wanted->digest))
            return true;
        s->other = true;
        find_data_differs(data, s->wanted, difference, sizeof difference);
        display_warn("Found %s, but these are not the class's images: %s.", path, difference);
        return false;
    }
    if (s->unusable == NULL || strcmp(s->unusable, images) == 0)
        return true;
    s->other = true;
    display_warn("Also found %s (%s). These are other images, so they are not used.\n"
                 "To use them, add --data %s",
                 path, images, path);
    return false;
}

/* Looks at one place. Returns the dataset if it is to be used. */
static dataset *look(search *s, size_t place) {
    char path[PATH_SIZE];
    dataset *data;

    if ((s->wanted != NULL && !s->wanted->known && s->wanted->channels != places[place].channels) ||
        !expand(places[place].path, path) || !is_there(path))
        return NULL;
    data = open_shown(s->options, path);
    if (data == NULL) {
        if (s->unusable == NULL)
            s->unusable = places[place].images;
        return NULL;
    }
    if (is_wanted(s, data, path, places[place].images)) {
        display_say("found %s", path);
        return data;
    }
    dataset_close(data);
    return NULL;
}

/* Says that nothing was found, and what to do. */
static void not_found(const search *s) {
    char which[128] = "", images[COUNT_SIZE], digits[2 * DIGITS_SHOWN + 1];

    if (s->wanted != NULL && s->wanted->known) {
        count_text(s->wanted->count, images);
        digest_text(s->wanted->digest, digits);
        (void)snprintf(which, sizeof which, " (%s images, digest %s…)", images, digits);
    }
    display_warn(
        "%s%s %s found.\nSay where they are: --data PATH, or GANN_DATA in the environment.%s",
        s->wanted != NULL ? "The class's images" : "Images to train on", which,
        s->unusable != NULL || s->other ? "were not" : "could not be",
        s->unusable != NULL || s->other ? ""
                                        : "\nLooked for: img_align_celeba.zip here, in your home "
                                          "and in Downloads, and Debian's "
                                          "dataset-fashion-mnist.");
}

dataset *find_data(const options *o, const wanted_images *wanted) {
    const char *named = o->data != NULL ? o->data : getenv("GANN_DATA");
    search s = {.options = o, .wanted = wanted};

    if (named != NULL && named[0] != '\0')
        return open_named(o, wanted, named);
    for (size_t i = 0; i < PLACES; i++) {
        dataset *data = look(&s, i);

        if (data != NULL)
            return data;
    }
    not_found(&s);
    return NULL;
}
