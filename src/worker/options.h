/*
 * options.h - the command line
 */
#ifndef GANN_OPTIONS_H
#define GANN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct options {
    char *connect;    /* connection string, NULL for libpq's environment variables; it may hold a password */
    const char *data; /* dataset */
    const char *run;  /* NULL: the only one that is not over */
    char name[33];
    int threads;
    size_t batch; /* 0: the run's */
    size_t cache_mb;
    bool check;
} options;

typedef enum options_answer { OPTIONS_GO, OPTIONS_DONE, OPTIONS_WRONG } options_answer;

/*
 * Reads the command line. OPTIONS_DONE: --help or --version was answered; OPTIONS_WRONG: the mistake was named
 * on standard error. A connection string is taken out of argv, where every user of the machine could read it.
 */
options_answer options_read(options *o, int argc, char **argv);

/* Frees what options_read() allocated. */
void options_free(options *o);

#endif
