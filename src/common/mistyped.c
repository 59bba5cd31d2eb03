/*
 * mistyped.c - mistyped options
 */
#include "mistyped.h"

#include <stdio.h>
#include <string.h>

#define WORD_MAX 40

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Counts the letters to change, insert, delete or swap to turn one word into the other. */
static size_t distance(const char *a, const char *b) {
    size_t rows[3][WORD_MAX + 1], n = strlen(a), m = strlen(b);

    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] =
                least(least(before[j] + 1, now[j - 1] + 1), before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

/* Finds the option most like a word; NULL if none is near. */
static const char *mistyped_nearest(const struct option *known, const char *word) {
    size_t best = strlen(word) < 5 ? 2 : 3; /* this many letters are too many */
    const char *nearest = NULL;

    for (; known->name != NULL; known++) {
        size_t away = distance(word, known->name);
        if (away < best) {
            best = away;
            nearest = known->name;
        }
    }
    return nearest;
}

/* Finds the name of an option by getopt's value for it. */
static const char *name_of(const struct option *known, int value) {
    for (; known->name != NULL; known++)
        if (known->val == value)
            return known->name;
    return NULL;
}

/* Finds the word at which getopt_long stopped: the one before optind, or, within a group of short
 * options, the one at optind. */
static const char *find_word(int argc, char **argv) {
    if (optopt != 0 && optind < argc && argv[optind][0] == '-' && argv[optind][1] != '-' &&
        strchr(argv[optind], optopt) != NULL)
        return argv[optind];
    return optind > 0 && optind <= argc ? argv[optind - 1] : "";
}

void mistyped_describe(char *what, size_t size, int answer, const struct option *known, int argc,
                       char **argv) {
    const char *name = optopt != 0 ? name_of(known, optopt) : NULL, *word = find_word(argc, argv),
               *nearest;
    size_t dashes = strspn(word, "-"), length = strcspn(word, "=");
    char bare[WORD_MAX + 1];

    if (answer == ':' && name != NULL) {
        snprintf(what, size, "--%s needs a value", name);
        return;
    }
    if (name != NULL && strncmp(word, "--", 2) == 0) {
        snprintf(what, size, "--%s takes no value", name);
        return;
    }
    snprintf(bare, sizeof bare, "%.*s", (int)(length - least(dashes, length)),
             word + least(dashes, length));
    nearest = mistyped_nearest(known, bare);
    snprintf(what, size, "%.*s is not an option%s%s%s", (int)least(length, WORD_MAX), word,
             nearest != NULL ? "; did you mean --" : "", nearest != NULL ? nearest : "",
             nearest != NULL ? "?" : "");
}
