/*
 * options.h - the command line of the programs for students: gan_worker and gan_local
 *
 * Each program gives its name, the options that it takes, and a function for the words that are no
 * options.
 */
#ifndef GANN_OPTIONS_H
#define GANN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../dcgan/dcgan.h"
#include "rest.h"

/* Of gan_local. */
typedef struct options_local {
    dcgan_config network;
    int local_steps, iterations, save_every;
    double learning_rate;
    bool iterations_given; /* otherwise a resumed training keeps its target */
    const char *resume;    /* checkpoint to continue from, or NULL */
} options_local;

typedef struct options {
    bool sample; /* gan_worker sample */
    /* connection string, NULL for libpq's environment variables; it may hold a password */
    char *connect;
    const char *data; /* dataset, or NULL: to be found */
    const char *run;  /* NULL: the only one that is not over */
    char name[33];
    int threads;
    bool threads_given;
    const char *device; /* NULL: the fastest */
    size_t batch;       /* 0: the run's */
    size_t cache_mb;
    bool check;
    bool once;   /* end with the run */
    int max_cpu; /* percent of the time that threads compute */
    int nice;
    rest_rules rest;
    const char *out;        /* of gan_local a folder, of sample a file */
    const char *checkpoint; /* of sample: a file in place of a server, or NULL */
    int count;              /* images of a sheet */
    bool seed_given;
    int64_t seed;
    options_local local;
} options;

/* OPTIONS_DEVICES: --device list */
typedef enum options_answer {
    OPTIONS_GO,
    OPTIONS_DONE,
    OPTIONS_WRONG,
    OPTIONS_DEVICES
} options_answer;

/* What both programs' --help says of the options that leave room for others. */
#define OPTIONS_HELP_ROOM                                                                          \
    "to leave room for others:\n"                                                                  \
    "  --nice N          lower priority, 0 to 19\n"                                                \
    "  --max-cpu P       compute P percent of the time, 1 to 100\n"                                \
    "  --quiet-hours H   rest in these hours, local time: 22:00-07:00\n"                           \
    "  --on-battery      work on battery, too (without it the program rests until it is plugged\n" \
    "                    in)\n"

/* And of the device. */
#define OPTIONS_HELP_DEVICE                                                                        \
    "  --device D        compute on: cpu, gpu, gpu:1 (another one), or auto: the fastest, which\n" \
    "                    is measured (default: auto); list shows what this machine has\n"

/* Which program takes an option: flags. */
enum { OPTIONS_OF_WORKER = 1, OPTIONS_OF_LOCAL = 2, OPTIONS_OF_BOTH = 3 };

typedef struct options_program {
    const char *name, *usage;
    unsigned takes;
    /* Takes a connection string; null: the program takes none. */
    options_answer (*connect)(options *o, char *text);
    /* Takes the words that are no options; count may be 0. Called last: the options are known. */
    options_answer (*words)(options *o, int count, char **words);
} options_program;

/*
 * Reads the command line. OPTIONS_DONE: --help or --version was answered; OPTIONS_WRONG: the
 * mistake was printed on standard error.
 */
options_answer options_read(options *o, const options_program *program, int argc, char **argv);

/* Prints a mistake and what to do about it; returns OPTIONS_WRONG. */
options_answer options_wrong(const char *what, const char *remedy);

/* Frees what options_read() allocated. */
void options_free(options *o);

#endif
