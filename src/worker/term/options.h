/*
 * options.h - the command line
 */
#ifndef GANN_OPTIONS_H
#define GANN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../dcgan/dcgan.h"
#include "rest.h"

typedef enum options_command { OPTIONS_WORK, OPTIONS_LOCAL, OPTIONS_SAMPLE } options_command;

/* Of `gan_worker local`. */
typedef struct options_local {
    dcgan_config network;
    int local_steps, iterations, save_every;
    double learning_rate;
    bool iterations_given; /* else a training that goes on keeps its target */
    const char *resume;    /* checkpoint to go on from, or NULL */
} options_local;

typedef struct options {
    options_command command;
    /* connection string, NULL for libpq's environment variables; it may hold a password */
    char *connect;
    const char *data; /* dataset, or NULL: to be found */
    const char *run;  /* NULL: the only one that is not over */
    char name[33];
    int threads;
    bool threads_given;
    size_t batch; /* 0: the run's */
    size_t cache_mb;
    bool check;
    bool once;   /* end with the run */
    int max_cpu; /* percent of the time that threads compute */
    int nice;
    rest_rules rest;
    const char *out;        /* of local a folder, of sample a file */
    const char *checkpoint; /* of sample: a file in place of a server, or NULL */
    int count;              /* images of a sheet */
    bool seed_given;
    int64_t seed;
    options_local local;
} options;

typedef enum options_answer { OPTIONS_GO, OPTIONS_DONE, OPTIONS_WRONG } options_answer;

/*
 * Reads the command line. OPTIONS_DONE: --help or --version was answered; OPTIONS_WRONG: the
 * mistake was named on standard error. A connection string is taken out of argv, where every user
 * of the machine could read it.
 */
options_answer options_read(options *o, int argc, char **argv);

/* Frees what options_read() allocated. */
void options_free(options *o);

#endif
