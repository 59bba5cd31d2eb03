/*
 * options.c - the command line, by getopt_long
 */
#define _GNU_SOURCE

#include "options.h"
#include "../../common/hardware.h"
#include "../../common/mistyped.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#define CACHE_MB 1024

static const char usage[] =
    "gan_worker trains a GAN together with a class, through a PostgreSQL server.\n"
    "\n"
    "  gan_worker postgresql://... [option ...]         compute work units of the class\n"
    "  gan_worker local [option ...]                    train on this machine alone, without a "
    "server\n"
    "  gan_worker sample postgresql://... | FILE        draw a sheet of images, from a run or a "
    "checkpoint\n"
    "\n"
    "  --connect URI     the connection string from your instructor; may also be given without "
    "--connect.\n"
    "                    Without any, PGHOST, PGUSER, PGPASSWORD ... are used\n"
    "  --data PATH       the images: a zip archive, a folder, or an IDX file. Without it, "
    "$GANN_DATA and the\n"
    "                    usual places are searched for the class's dataset\n"
    "  --name N          name of this program in the class (default: the host's name)\n"
    "  --run NAME        which run to join, by its name or number (default: the only one)\n"
    "  --once            end when the run is over (without it the program waits for the next run)\n"
    "  --threads T       threads to compute with (default: one fewer than this computer has "
    "cores)\n"
    "  --batch B         images computed at once (default: the run's; local: 8)\n"
    "  --cache MB        memory for prepared images (default: 1024)\n"
    "  --check           try the connection, the run, the dataset and the speed, then end\n"
    "\n"
    "to leave room for others:\n"
    "  --nice N          lower priority, 0 to 19\n"
    "  --max-cpu P       compute P percent of the time, 1 to 100\n"
    "  --quiet-hours H   rest in these hours, local time: 22:00-07:00\n"
    "  --on-battery      work on battery, too (without it the program rests until it is plugged "
    "in)\n"
    "\n"
    "of gan_worker local:\n"
    "  --out FOLDER      for checkpoint.safetensors and samples-....png (default: gan-local)\n"
    "  --resume FILE     go on from a checkpoint\n"
    "  --iterations N    train so many iterations (default: 1000; with --resume: the "
    "checkpoint's)\n"
    "  --local-steps H   steps of both networks in an iteration (default: 40)\n"
    "  --save-every N    iterations between checkpoints (default: 50)\n"
    "  --image-size S, --channels C, --latent Z, --features F    the networks (64, 3, 100, 64)\n"
    "  --learning-rate R (default: 0.0003)\n"
    "  --seed N          of weights, noise and order (default: random)\n"
    "\n"
    "of gan_worker sample:\n"
    "  --out FILE        (default: samples.png)\n"
    "  --count N         images (default: 64)\n"
    "  --seed N          (default: 0)\n"
    "\n"
    "  --help, --version\n"
    "\n"
    "Ctrl-C gives the unit back and ends; a second Ctrl-C ends at once.\n";

/* A field of options that holds a number. */
typedef enum field_kind { FIELD_INT, FIELD_SIZE, FIELD_UINT32, FIELD_INT64 } field_kind;

/* Options with a whole number: their limits, and where they go. */
static const struct {
    const char *name;
    int64_t low, high;
    field_kind kind;
    size_t place;
} numbers[] = {
    {"threads", 1, 1024, FIELD_INT, offsetof(options, threads)},
    {"batch", 1, 4096, FIELD_SIZE, offsetof(options, batch)},
    {"cache", 0, 1 << 20, FIELD_SIZE, offsetof(options, cache_mb)},
    {"nice", 0, 19, FIELD_INT, offsetof(options, nice)},
    {"max-cpu", 1, 100, FIELD_INT, offsetof(options, max_cpu)},
    {"iterations", 1, 100000000, FIELD_INT, offsetof(options, local.iterations)},
    {"local-steps", 1, 65536, FIELD_INT, offsetof(options, local.local_steps)},
    {"save-every", 1, 100000000, FIELD_INT, offsetof(options, local.save_every)},
    {"image-size", 32, 128, FIELD_UINT32, offsetof(options, local.network.image_size)},
    {"channels", 1, 3, FIELD_UINT32, offsetof(options, local.network.channels)},
    {"latent", 1, DCGAN_MAX_LATENT, FIELD_UINT32, offsetof(options, local.network.latent)},
    {"features", 1, DCGAN_MAX_FEATURES, FIELD_UINT32,
     offsetof(options, local.network.generator_features)},
    {"count", 1, 4096, FIELD_INT, offsetof(options, count)},
    {"seed", INT64_MIN, INT64_MAX, FIELD_INT64, offsetof(options, seed)},
};

#define NUMBERS (sizeof numbers / sizeof *numbers)
#define NUMBER 256 /* getopt's value of the first of them */

enum { LEARNING_RATE = 512 };

static const struct option others[] = {{"connect", required_argument, NULL, 'c'},
                                       {"data", required_argument, NULL, 'd'},
                                       {"name", required_argument, NULL, 'n'},
                                       {"run", required_argument, NULL, 'r'},
                                       {"out", required_argument, NULL, 'o'},
                                       {"resume", required_argument, NULL, 'R'},
                                       {"quiet-hours", required_argument, NULL, 'q'},
                                       {"learning-rate", required_argument, NULL, LEARNING_RATE},
                                       {"on-battery", no_argument, NULL, 'B'},
                                       {"check", no_argument, NULL, 'k'},
                                       {"once", no_argument, NULL, 'O'},
                                       {"help", no_argument, NULL, 'h'},
                                       {"version", no_argument, NULL, 'v'}};

#define OTHERS (sizeof others / sizeof *others)

/* Names a mistake. */
static options_answer wrong(const char *what, const char *remedy) {
    fprintf(stderr, "gan_worker: %s\n%s\n", what, remedy);
    return OPTIONS_WRONG;
}

/* Puts a number into its field. */
static void set_number(options *o, size_t which, int64_t number) {
    char *place = (char *)o + numbers[which].place;

    switch (numbers[which].kind) {
    case FIELD_INT:
        *(int *)place = (int)number;
        break;
    case FIELD_SIZE:
        *(size_t *)place = (size_t)number;
        break;
    case FIELD_UINT32:
        *(uint32_t *)place = (uint32_t)number;
        break;
    case FIELD_INT64:
        *(int64_t *)place = number;
    }
}

/* Reads a whole number within limits. */
static options_answer read_number(options *o, size_t which, const char *text) {
    const char *name = numbers[which].name;
    int64_t low = numbers[which].low, high = numbers[which].high, number;
    char what[100], remedy[100], *end;

    errno = 0;
    number = strtoll(text, &end, 10);
    if (end != text && *end == '\0' && errno == 0 && number >= low && number <= high) {
        set_number(o, which, number);
        o->seed_given = o->seed_given || strcmp(name, "seed") == 0;
        o->threads_given = o->threads_given || strcmp(name, "threads") == 0;
        o->local.iterations_given = o->local.iterations_given || strcmp(name, "iterations") == 0;
        return OPTIONS_GO;
    }
    snprintf(what, sizeof what, "--%s is not a number from %" PRId64 " to %" PRId64, name, low,
             high);
    snprintf(remedy, sizeof remedy, "For example: --%s %" PRId64, name,
             low > 0      ? low
             : high < 256 ? high
                          : 256);
    return wrong(what, remedy);
}

/* Reads a learning rate. */
static options_answer read_rate(options *o, const char *text) {
    char *end;

    o->local.learning_rate = strtod(text, &end);
    if (end != text && *end == '\0' && o->local.learning_rate > 0 && o->local.learning_rate <= 1)
        return OPTIONS_GO;
    return wrong("--learning-rate is not a number above 0 and at most 1",
                 "For example: --learning-rate 0.0002");
}

/* Reads a worker's name, which the server wants plain. */
static options_answer read_name(char name[33], const char *text) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-";
    size_t length = strlen(text);

    if (length < 1 || length > 32 || strspn(text, plain) != length ||
        strchr(" ._-", text[0]) != NULL)
        return wrong("--name must be 1 to 32 letters, digits, spaces, dots, dashes or underscores, "
                     "and begin with a letter or digit",
                     "For example: --name alice-laptop");
    memcpy(name, text, length + 1);
    return OPTIONS_GO;
}

/* Takes a connection string out of argv. Never prints any of it: it may hold a password, and so do
 * libpq's messages. */
static options_answer take_connect(options *o, char *text) {
    PQconninfoOption *parsed = NULL;
    bool string = strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
                  strncmp(text, "postgresql://", 13) == 0;

    if (o->connect != NULL)
        return wrong("there is more than one connection string",
                     "Give one, in quotes: 'postgresql://...'");
    if ((o->connect = strdup(text)) == NULL)
        return wrong("there is not enough memory", "Close other programs.");
    memset(text, 'x', strlen(text));
    if (string && (parsed = PQconninfoParse(o->connect, NULL)) == NULL)
        return wrong(
            "the connection string cannot be read",
            "It has the form 'postgresql://login:password@host:5432/database', in quotes.");
    PQconninfoFree(parsed);
    return OPTIONS_GO;
}

/* Reads one option. */
static options_answer read_option(options *o, int option, char *text) {
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
    case 'o':
        o->out = text;
        return OPTIONS_GO;
    case 'R':
        o->local.resume = text;
        return OPTIONS_GO;
    case 'q':
        return rest_read_hours(&o->rest, text)
                   ? OPTIONS_GO
                   : wrong("--quiet-hours are not two different times of a day",
                           "For example: --quiet-hours 22:00-07:00");
    case LEARNING_RATE:
        return read_rate(o, text);
    case 'B':
        o->rest.on_battery = true;
        return OPTIONS_GO;
    case 'k':
        o->check = true;
        return OPTIONS_GO;
    case 'O':
        o->once = true;
        return OPTIONS_GO;
    case 'h':
        fputs(usage, stdout);
        return OPTIONS_DONE;
    case 'v':
        puts("gan_worker " GANN_VERSION);
        return OPTIONS_DONE;
    default:
        return read_number(o, (size_t)(option - NUMBER), text);
    }
}

/* Tells whether a value is the next option, because the value itself was forgotten. No value of
 * ours begins with two dashes. */
static bool is_option(const char *value) {
    return value != NULL && strncmp(value, "--", 2) == 0;
}

/* Reads all options. Messages of getopt's own would show what follows "=", which may be a
 * password. */
static options_answer read_all(options *o, const struct option *known, int argc, char **argv) {
    static const char remedy[] = "gan_worker --help lists the options.";
    options_answer answer = OPTIONS_GO;
    int option, which = 0;
    char what[200];

    opterr = 0;
    optind = 0; /* begins anew: glibc's way */
    while (answer == OPTIONS_GO && (option = getopt_long(argc, argv, ":", known, &which)) != -1) {
        if (option == ':' || option == '?') {
            mistyped_describe(what, sizeof what, option, known, argc, argv);
            return wrong(what, remedy);
        }
        if (is_option(optarg) && argv[optind - 1] == optarg) {
            snprintf(what, sizeof what, "--%s lacks its value", known[which].name);
            return wrong(what, remedy);
        }
        answer = read_option(o, option, optarg);
    }
    return answer;
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

/* What is said to a command line that doesn't say where to connect to. */
static options_answer no_connection(int argc) {
    const char *end = strstr(usage, "\n\n  --connect");

    if (argc == 1)
        fprintf(stderr, "%.*s\n\n", (int)(end - usage), usage);
    return wrong("there is no connection string",
                 "Give the one from your instructor, in quotes: gan_worker 'postgresql://...' "
                 "(gan_worker --help lists the options).");
}

/* Tells whether a text is a connection string. */
static bool is_connection(const char *text) {
    return strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
           strncmp(text, "postgresql://", 13) == 0;
}

/* Takes what is not an option: at most a connection string, or sample's file. */
static options_answer take_rest(options *o, int argc, char **argv) {
    if (optind == argc)
        return OPTIONS_GO;
    if (argc - optind > 1)
        return wrong("there are too many arguments",
                     "Put what has spaces in it in quotes; gan_worker --help lists the options.");
    if (o->command == OPTIONS_LOCAL)
        return wrong("gan_worker local takes options only",
                     "The dataset is given by --data, a checkpoint to go on from by --resume.");
    if (is_connection(argv[optind]) &&
        (o->command != OPTIONS_SAMPLE || strstr(argv[optind], "://") != NULL ||
         access(argv[optind], F_OK) != 0))
        return take_connect(o, argv[optind]);
    if (o->command == OPTIONS_SAMPLE && o->connect == NULL) {
        o->checkpoint = argv[optind];
        return OPTIONS_GO;
    }
    return wrong("an argument is neither an option nor a connection string",
                 "The dataset is given by --data, the connection by 'postgresql://...'.");
}

/* Puts the list of options together. */
static void list_options(struct option known[NUMBERS + OTHERS + 1]) {
    memset(known, 0, (NUMBERS + OTHERS + 1) * sizeof *known);
    memcpy(known, others, sizeof others);
    for (size_t i = 0; i < NUMBERS; i++)
        known[OTHERS + i] =
            (struct option){numbers[i].name, required_argument, NULL, NUMBER + (int)i};
}

/* Sets what holds unless it is said otherwise. */
static void set_defaults(options *o) {
    memset(o, 0, sizeof *o);
    o->threads = hardware_physical("/sys/devices/system/cpu") - 1;
    if (o->threads < 1)
        o->threads = 1;
    o->cache_mb = CACHE_MB;
    o->max_cpu = 100;
    o->count = 64;
    o->local = (options_local){
        .network = {.channels = 3, .image_size = 64, .latent = 100, .generator_features = 64},
        .local_steps = 40,
        .iterations = 1000,
        .save_every = 50,
        .learning_rate = 3e-4};
    hardware_name(o->name);
}

/* Takes the command, if there is one, off the arguments. */
static void take_command(options *o, int *argc, char ***argv) {
    const char *word = *argc > 1 ? (*argv)[1] : "";

    o->command = strcmp(word, "local") == 0    ? OPTIONS_LOCAL
                 : strcmp(word, "sample") == 0 ? OPTIONS_SAMPLE
                                               : OPTIONS_WORK;
    if (o->command == OPTIONS_WORK)
        return;
    (*argc)--;
    (*argv)++;
}

options_answer options_read(options *o, int argc, char **argv) {
    struct option known[NUMBERS + OTHERS + 1];
    options_answer answer;

    set_defaults(o);
    take_command(o, &argc, &argv);
    list_options(known);
    answer = read_all(o, known, argc, argv);
    if (answer == OPTIONS_GO)
        answer = take_rest(o, argc, argv);
    if (answer == OPTIONS_GO && o->command != OPTIONS_LOCAL && o->connect == NULL &&
        o->checkpoint == NULL && !environment_says())
        answer = no_connection(argc);
    if (o->out == NULL)
        o->out = o->command == OPTIONS_LOCAL ? "gan-local" : "samples.png";
    o->local.network.discriminator_features = o->local.network.generator_features;
    return answer;
}

void options_free(options *o) {
    free(o->connect);
    o->connect = NULL;
}
