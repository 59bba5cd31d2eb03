/*
 * worker_options.c - the command line of gan_worker: its usage, and its connection string
 */
#define _GNU_SOURCE

#include "worker_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

static const char usage[] =
    "gan_worker trains a GAN together with a class, through a PostgreSQL server.\n"
    "\n"
    "  gan_worker postgresql://... [option ...]         compute work units of the class\n"
    "  gan_worker sample postgresql://... | FILE        draw a sheet of images, from a run or a\n"
    "                                                   checkpoint\n"
    "  gan_local [option ...]                           train on this machine alone: a separate\n"
    "                                                   program\n"
    "\n"
    "  --connect URI     the connection string from your instructor; may also be given without\n"
    "                    --connect. Without any, PGHOST, PGUSER, PGPASSWORD ... are used\n"
    "  --data PATH       the images: a zip archive, a folder, or an IDX file. Without it,\n"
    "                    $GANN_DATA and the usual places are searched for the class's dataset\n"
    "  --name N          name of this program in the class (default: the host's name)\n"
    "  --run NAME        which run to join, by its name or number (default: the only one)\n"
    "  --once            end when the run is over (without it the program waits for the next run)\n"
    "  --threads T       threads to compute with (default: one fewer than this computer has\n"
    "                    cores)\n" OPTIONS_HELP_DEVICE
    "  --batch B         images computed at once (default: the run's)\n"
    "  --cache MB        memory for prepared images (default: 1024)\n"
    "  --check           try the connection, the run, the dataset and the speed, then end\n"
    "\n" OPTIONS_HELP_ROOM "\n"
    "of gan_worker sample:\n"
    "  --out FILE        (default: samples.png)\n"
    "  --count N         images (default: 64)\n"
    "  --seed N          (default: 0)\n"
    "\n"
    "  --help, --version\n"
    "\n"
    "Ctrl-C gives the unit back and ends; a second Ctrl-C ends at once.\n";

static bool alone; /* nothing at all was typed */

/* Takes a connection string out of argv. Never prints any of it, nor libpq's messages: both may
 * hold a password. */
static options_answer take_connect(options *o, char *text) {
    PQconninfoOption *parsed = NULL;
    bool string = strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
                  strncmp(text, "postgresql://", 13) == 0;

    if (o->connect != NULL)
        return options_wrong("there is more than one connection string",
                             "Give one, in quotes: 'postgresql://...'");
    if ((o->connect = strdup(text)) == NULL)
        return options_wrong("there is not enough memory", "Close other programs.");
    memset(text, 'x', strlen(text));
    if (string && (parsed = PQconninfoParse(o->connect, NULL)) == NULL)
        return options_wrong(
            "the connection string cannot be read",
            "It has the form 'postgresql://login:password@host:5432/database', in quotes.");
    PQconninfoFree(parsed);
    return OPTIONS_GO;
}

/* Tells whether libpq's environment variables say where to connect to. */
static bool environment_says(void) {
    static const char *const names[] = {"PGHOST", "PGHOSTADDR", "PGUSER", "PGDATABASE",
                                        "PGSERVICE"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]) != NULL)
            return true;
    return false;
}

/* Answers a command line that doesn't say where to connect to. */
static options_answer no_connection(void) {
    const char *end = strstr(usage, "\n\n  --connect");

    if (alone)
        fprintf(stderr, "%.*s\n\n", (int)(end - usage), usage);
    return options_wrong(
        "there is no connection string",
        "Give the one from your instructor, in quotes: gan_worker 'postgresql://...' "
        "(gan_worker --help lists the options).");
}

/* Tells whether a text is a connection string. */
static bool is_connection(const char *text) {
    return strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
           strncmp(text, "postgresql://", 13) == 0;
}

/* Takes the words that are no options: `sample`, and at most a connection string, or sample's
 * file. */
static options_answer take_words(options *o, int count, char **words) {
    options_answer answer = OPTIONS_GO;

    o->sample = count > 0 && strcmp(words[0], "sample") == 0;
    if (o->sample)
        count--, words++;
    if (o->out == NULL)
        o->out = "samples.png";
    if (count > 1)
        return options_wrong(
            "there are too many arguments",
            "Put arguments with spaces in quotes; gan_worker --help lists the options.");
    if (count == 1 && is_connection(words[0]) &&
        (!o->sample || strstr(words[0], "://") != NULL || access(words[0], F_OK) != 0))
        answer = take_connect(o, words[0]);
    else if (count == 1 && o->sample && o->connect == NULL)
        o->checkpoint = words[0];
    else if (count == 1)
        return options_wrong(
            "an argument is neither an option nor a connection string",
            "The dataset is given by --data, the connection by 'postgresql://...'.");
    if (answer == OPTIONS_GO && o->connect == NULL && o->checkpoint == NULL && !environment_says())
        answer = no_connection();
    return answer;
}

static const options_program gan_worker = {
    .name = "gan_worker",
    .usage = usage,
    .takes = OPTIONS_OF_WORKER,
    .connect = take_connect,
    .words = take_words,
};

options_answer worker_options_read(options *o, int argc, char **argv) {
    alone = argc == 1;
    if (argc > 1 && strcmp(argv[1], "local") == 0) {
        fputs("gan_worker: training on this machine alone is done by another program\n"
              "Run gan_local instead of gan_worker local.\n",
              stderr);
        memset(o, 0, sizeof *o);
        return OPTIONS_WRONG;
    }
    return options_read(o, &gan_worker, argc, argv);
}
