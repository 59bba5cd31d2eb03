/*
 * options.c - the command line, by getopt_long
 */
#define _GNU_SOURCE

#include "options.h"
#include "hardware.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#define THREADS_MAX 1024
#define BATCH_MAX 4096
#define CACHE_MAX_MB (1 << 20)
#define CACHE_MB 1024

static const char usage[] =
    "gan_worker trains a GAN together with a class, through a PostgreSQL server.\n"
    "\n"
    "  gan_worker [--connect URI] --data PATH [option ...]\n"
    "\n"
    "  --connect URI   the connection string from your instructor, postgresql://...; may also be given\n"
    "                  without --connect. Without any, PGHOST, PGUSER, PGPASSWORD ... are used\n"
    "  --data PATH     the images: a zip archive, a folder, or an IDX file\n"
    "  --name N        name of this program in the class (default: the host's name)\n"
    "  --run NAME      which run to join (default: the only one)\n"
    "  --threads T     threads to compute with (default: 1)\n"
    "  --batch B       images computed at once (default: the run's)\n"
    "  --cache MB      memory for prepared images (default: 1024)\n"
    "  --check         try the connection, the run, the dataset and the speed, then end\n"
    "  --help, --version\n"
    "\n"
    "Ctrl-C hands the unit back and ends; a second Ctrl-C ends at once.\n";

static const struct option known[] = {{"connect", required_argument, NULL, 'c'},
                                      {"data", required_argument, NULL, 'd'},
                                      {"name", required_argument, NULL, 'n'},
                                      {"run", required_argument, NULL, 'r'},
                                      {"threads", required_argument, NULL, 't'},
                                      {"batch", required_argument, NULL, 'b'},
                                      {"cache", required_argument, NULL, 'm'},
                                      {"check", no_argument, NULL, 'k'},
                                      {"help", no_argument, NULL, 'h'},
                                      {"version", no_argument, NULL, 'v'},
                                      {NULL, 0, NULL, 0}};

/* Names a mistake. */
static options_answer wrong(const char *what, const char *remedy) {
    fprintf(stderr, "gan_worker: %s\n%s\n", what, remedy);
    return OPTIONS_WRONG;
}

/* Reads a whole number within limits. */
static options_answer read_number(const char *option, const char *text, long low, long high, long *number) {
    char what[100], remedy[100];
    char *end;

    errno = 0;
    *number = strtol(text, &end, 10);
    if (end != text && *end == '\0' && errno == 0 && *number >= low && *number <= high)
        return OPTIONS_GO;
    snprintf(what, sizeof what, "--%s is not a number from %ld to %ld", option, low, high);
    snprintf(remedy, sizeof remedy, "For example: --%s %ld", option, low > 0 ? low : 256L);
    return wrong(what, remedy);
}

/* Reads a worker's name, which the server wants plain. */
static options_answer read_name(char name[33], const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-";
    size_t length = strlen(text);

    if (length < 1 || length > 32 || strspn(text, plain) != length || strchr(" ._-", text[0]) != NULL)
        return wrong("--name must be 1 to 32 letters, digits, spaces, dots, dashes or underscores, "
                     "and begin with a letter or digit",
                     "For example: --name alice-laptop");
    memcpy(name, text, length + 1);
    return OPTIONS_GO;
}

/* Takes a connection string out of argv. Never prints any of it: it may hold a password, and so do libpq's
 * messages. */
static options_answer take_connect(options *o, char *text) {
    PQconninfoOption *parsed = NULL;
    bool string = strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
                  strncmp(text, "postgresql://", 13) == 0;

    if (o->connect != NULL)
        return wrong("more than one connection string", "Give one, in quotes: 'postgresql://...'");
    if ((o->connect = strdup(text)) == NULL)
        return wrong("not enough memory", "Close other programs.");
    memset(text, 'x', strlen(text));
    if (string && (parsed = PQconninfoParse(o->connect, NULL)) == NULL)
        return wrong("the connection string cannot be read",
                     "It has the form 'postgresql://login:password@host:5432/database', in quotes.");
    PQconninfoFree(parsed);
    return OPTIONS_GO;
}

/* Reads one option. */
static options_answer read_option(options *o, int option, char *text) {
    options_answer answer;
    long number;

    switch (option) {
    case 'c':
        return take_connect(o, text);
    case 'd':
        o->data = text;
        return OPTIONS_GO;
    case 'n':
        return read_name(o->name, text);
    case 'r':
        o->run = text;
        return OPTIONS_GO;
    case 't':
        if ((answer = read_number("threads", text, 1, THREADS_MAX, &number)) == OPTIONS_GO)
            o->threads = (int)number;
        return answer;
    case 'b':
        if ((answer = read_number("batch", text, 1, BATCH_MAX, &number)) == OPTIONS_GO)
            o->batch = (size_t)number;
        return answer;
    case 'm':
        if ((answer = read_number("cache", text, 0, CACHE_MAX_MB, &number)) == OPTIONS_GO)
            o->cache_mb = (size_t)number;
        return answer;
    case 'k':
        o->check = true;
        return OPTIONS_GO;
    case 'h':
        fputs(usage, stdout);
        return OPTIONS_DONE;
    case 'v':
        puts("gan_worker " GANN_VERSION);
        return OPTIONS_DONE;
    default:
        /* getopt's own message would show what follows "=", which may be a password */
        fputs("gan_worker: an option is unknown or lacks its value\ngan_worker --help lists the options.\n",
              stderr);
        return OPTIONS_WRONG;
    }
}

/* Takes what is not an option: at most a connection string. */
static options_answer take_rest(options *o, int argc, char **argv) {
    if (optind == argc)
        return OPTIONS_GO;
    if (argc - optind > 1)
        return wrong("too many arguments", "gan_worker --help lists the options.");
    if (strchr(argv[optind], '=') == NULL && strncmp(argv[optind], "postgres://", 11) != 0 &&
        strncmp(argv[optind], "postgresql://", 13) != 0)
        return wrong("an argument is neither an option nor a connection string",
                     "The dataset is given by --data, the connection by 'postgresql://...'.");
    return take_connect(o, argv[optind]);
}

options_answer options_read(options *o, int argc, char **argv) {
    options_answer answer = OPTIONS_GO;
    int option;

    memset(o, 0, sizeof *o);
    o->threads = 1;
    opterr = 0;
    o->cache_mb = CACHE_MB;
    hardware_name(o->name);
    while (answer == OPTIONS_GO && (option = getopt_long(argc, argv, "", known, NULL)) != -1)
        answer = read_option(o, option, optarg);
    if (answer == OPTIONS_GO)
        answer = take_rest(o, argc, argv);
    if (answer == OPTIONS_GO && o->data == NULL)
        answer = wrong("--data is missing", "For example: --data img_align_celeba.zip");
    return answer;
}

void options_free(options *o) {
    free(o->connect);
    o->connect = NULL;
}
