/*
 * test_dataset_archives.c - datasets as people have them: each fact that
 * test/fixture/make_archives.py writes about the files that it packs
 *
 * Environment: GANN_FIXTURES as in dataset_files.h; GANN_ARCHIVES, a folder that make_archives.py
 * has filled, else one is made.
 */
#define _GNU_SOURCE
#include "dataset_files.h"

#include <ftw.h>

#define IMAGES_MAX 8
#define SIDE 32
#define PIXELS (SIDE * SIDE * 3)

static const char *archives; /* the folder */

/* ---- helpers ---- */

static const char *path_of(const char *name) {
    static char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/%s", archives, name);
    return path;
}

/* Writes a digest in hexadecimal. */
static void digest_of(const dataset *set, char text[2 * DATASET_DIGEST_SIZE + 1]) {
    unsigned char digest[DATASET_DIGEST_SIZE];

    dataset_digest(set, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* Calls back for each fact of a kind, with its fields behind the kind. Returns how many there
 * were. */
static int each(const char *kind, void (*check)(char *fields[3])) {
    char line[600];
    FILE *facts = fopen(path_of("facts.txt"), "r");
    int count = 0;

    assert_non_null(facts);
    while (fgets(line, sizeof line, facts) != NULL) {
        char *rest = line, *fields[4] = {NULL};

        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < 4 && rest != NULL; i++)
            fields[i] = strsep(&rest, "\t");
        if (strcmp(fields[0], kind) != 0)
            continue;
        check(fields + 1);
        count++;
    }
    fclose(facts);
    return count;
}

/* Reads all images of a dataset. */
static void read_all(dataset *set, unsigned char pixels[IMAGES_MAX][PIXELS]) {
    assert_true(dataset_count(set) <= IMAGES_MAX);
    assert_int_equal(dataset_prepare(set, SIDE, 3), 0);
    for (size_t i = 0; i < dataset_count(set); i++)
        assert_int_equal(dataset_image(set, i, pixels[i]), 0);
}

/* The folder that all others are compared with. */
static unsigned char clean[IMAGES_MAX][PIXELS];
static char clean_digest[2 * DATASET_DIGEST_SIZE + 1];

static int read_clean(void **state) {
    reports seen = {0};
    dataset *set = open_good(path_of("clean"), ALL, &seen);

    (void)state;
    read_all(set, clean);
    digest_of(set, clean_digest);
    assert_int_equal(dataset_count(set), 6);
    assert_int_equal(seen.count, 0);
    dataset_close(set);
    return 0;
}

/* ---- the facts ---- */

static void check_same(char *fields[3]) {
    static unsigned char pixels[IMAGES_MAX][PIXELS];
    char digest[2 * DATASET_DIGEST_SIZE + 1];
    reports seen = {0};
    dataset *set = open_good(path_of(fields[0]), ALL, &seen);

    digest_of(set, digest);
    if (strcmp(digest, clean_digest) != 0)
        fail_msg("%s has another digest than the clean folder", fields[0]);
    read_all(set, pixels);
    assert_memory_equal(pixels, clean, 6 * PIXELS);
    if (seen.count > 0)
        fail_msg("%s: %s", fields[0], seen.last);
    dataset_close(set);
}

/* However they are packed, they are the same images with one digest. */
static void one_digest(void **state) {
    (void)state;
    assert_int_equal(each("same", check_same), 33);
}

static void check_is(char *fields[3]) {
    char digest[2 * DATASET_DIGEST_SIZE + 1];
    reports seen = {0};
    dataset *set = open_good(path_of(fields[0]), ALL, &seen);
    unsigned char pixels[IMAGES_MAX][PIXELS];

    digest_of(set, digest);
    if (dataset_count(set) != strtoul(fields[1], NULL, 10) || strcmp(digest, fields[2]) != 0)
        fail_msg("%s: %zu images with digest %s", fields[0], dataset_count(set), digest);
    read_all(set, pixels);
    assert_int_equal(seen.count, 0);
    dataset_close(set);
}

/* The rule of docs/format.md, as the script computes it. */
static void the_rule(void **state) {
    (void)state;
    assert_int_equal(each("is", check_is), 8);
}

static void check_match(char *fields[3]) {
    unsigned char wanted[DATASET_DIGEST_SIZE], first[DATASET_DIGEST_SIZE];
    char digest[2 * DATASET_DIGEST_SIZE + 1];
    size_t images = strtoul(fields[1], NULL, 10), before;
    reports seen = {0};
    dataset *set = open_good(path_of(fields[0]), ALL, &seen);
    unsigned char pixels[PIXELS];

    for (size_t i = 0; i < sizeof wanted; i++)
        assert_int_equal(sscanf(fields[2] + 2 * i, "%2hhx", &wanted[i]), 1);
    before = dataset_count(set);
    dataset_digest(set, first);
    wanted[3] ^= 1;
    assert_false(dataset_match(set, images, wanted));
    assert_int_equal(dataset_count(set), before);
    assert_true(dataset_match(set, before, first));
    wanted[3] ^= 1;
    assert_false(dataset_match(set, images + 1, wanted));
    if (!dataset_match(set, images, wanted))
        fail_msg("%s does not match %zu images with digest %s", fields[0], images, fields[2]);
    digest_of(set, digest);
    assert_string_equal(digest, fields[2]);
    assert_int_equal(dataset_count(set), images);
    assert_int_equal(dataset_prepare(set, SIDE, 3), 0);
    for (size_t i = 0; i < images; i++)
        assert_int_equal(dataset_image(set, i, pixels), 0);
    dataset_close(set);
}

/* A class with another list of the same images, or one that began with 0.1.0, continues; no other
 * list is accepted. */
static void other_lists(void **state) {
    (void)state;
    assert_int_equal(each("match", check_match), 7);
}

static void check_broken(char *fields[3]) {
    unsigned char pixels[IMAGES_MAX][PIXELS];
    size_t broken = strtoul(fields[1], NULL, 10);
    reports seen = {0};
    dataset *set = open_good(path_of(fields[0]), ALL, &seen);

    assert_int_equal(dataset_count(set), 6);
    read_all(set, pixels);
    for (size_t i = 0; i < 6; i++)
        if (memcmp(pixels[i], clean[i == broken ? (i + 1) % 6 : i], PIXELS) != 0)
            fail_msg("%s: image %zu is not what it should be", fields[0], i);
    if (seen.count != 1 || strstr(seen.last, "The next image takes its place.") == NULL)
        fail_msg("%s: %d reports, the last: %s", fields[0], seen.count, seen.last);
    dataset_close(set);
}

/* What is damaged within an archive is an image that can't be decoded, on any machine: the next one
 * takes its place. */
static void damage_is_broken(void **state) {
    (void)state;
    assert_int_equal(each("broken", check_broken), 11);
}

static void check_bad(char *fields[3]) {
    open_bad(path_of(fields[0]), fields[1]);
}

/* What can't be used is called what it is, and what to do is said. */
static void reasons(void **state) {
    (void)state;
    assert_int_equal(each("bad", check_bad), 66);
}

/* ---- all of it ---- */

static int make_archives(void **state) {
    static char made[] = "/tmp/gann_archives_XXXXXX";
    char images[PATH_SIZE], command[3 * PATH_SIZE];

    (void)state;
    if ((archives = getenv("GANN_ARCHIVES")) != NULL)
        return read_clean(state);
    fixture(images, "");
    archives = mkdtemp(made);
    snprintf(command, sizeof command, "python3 '%s/../make_archives.py' '%s' '%s'", images, images,
             archives);
    return archives == NULL || system(command) != 0 ? -1 : read_clean(state);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
    (void)status;
    (void)type;
    (void)at;
    return remove(path);
}

static int remove_archives(void **state) {
    (void)state;
    return getenv("GANN_ARCHIVES") != NULL ? 0
                                           : nftw(archives, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_digest),  cmocka_unit_test(the_rule),
        cmocka_unit_test(other_lists), cmocka_unit_test(damage_is_broken),
        cmocka_unit_test(reasons),
    };

    return cmocka_run_group_tests_name("dataset_archives", tests, make_archives, remove_archives);
}
