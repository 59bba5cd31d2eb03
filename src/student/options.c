/*
 * options.c - the command line of the programs for students, by getopt_long
 */
#define _GNU_SOURCE

#include "options.h"
#include "../common/hardware.h"
#include "../common/mistyped.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MB 1024

/* A field of options that holds a number. */
typedef enum field_kind { FIELD_INT, FIELD_SIZE, FIELD_UINT32, FIELD_INT64 } field_kind;

/* Options with a whole number: their limits, and where they go. */
static const struct {
    const char *name;
    int64_t low, high;
    field_kind kind;
    size_t place;
    unsigned of;
} numbers[] = {
    {"threads", 1, 1024, FIELD_INT, offsetof(options, threads), OPTIONS_OF_BOTH},
    {"batch", 1, 4096, FIELD_SIZE, offsetof(options, batch), OPTIONS_OF_BOTH},
    {"cache", 0, 1 << 20, FIELD_SIZE, offsetof(options, cache_mb), OPTIONS_OF_BOTH},
    {"nice", 0, 19, FIELD_INT, offsetof(options, nice), OPTIONS_OF_BOTH},
    {"max-cpu", 1, 100, FIELD_INT, offsetof(options, max_cpu), OPTIONS_OF_BOTH},
    {"iterations", 1, 100000000, FIELD_INT, offsetof(options, local.iterations), OPTIONS_OF_LOCAL},
    {"local-steps", 1, 65536, FIELD_INT, offsetof(options, local.local_steps), OPTIONS_OF_LOCAL},
    {"save-every", 1, 100000000, FIELD_INT, offsetof(options, local.save_every), OPTIONS_OF_LOCAL},
    {"image-size", 32, 128, FIELD_UINT32, offsetof(options, local.network.image_size),
     OPTIONS_OF_LOCAL},
    {"channels", 1, 3, FIELD_UINT32, offsetof(options, local.network.channels), OPTIONS_OF_LOCAL},
    {"latent", 1, DCGAN_MAX_LATENT, FIELD_UINT32, offsetof(options, local.network.latent),
     OPTIONS_OF_LOCAL},
    {"features", 1, DCGAN_MAX_FEATURES, FIELD_UINT32,
     offsetof(options, local.network.generator_features), OPTIONS_OF_LOCAL},
    {"count", 1, 4096, FIELD_INT, offsetof(options, count), OPTIONS_OF_WORKER},
    {"seed", INT64_MIN, INT64_MAX, FIELD_INT64, offsetof(options, seed), OPTIONS_OF_BOTH},
};

#define NUMBERS (sizeof numbers / sizeof *numbers)
#define NUMBER 256 /* getopt's value of the first of them */

enum { LEARNING_RATE = 512 };

/* The other options, and which programs take them. */
static const struct {
    struct option option;
    unsigned of;
} others[] = {
    {{"connect", required_argument, NULL, 'c'}, OPTIONS_OF_WORKER},
    {{"data", required_argument, NULL, 'd'}, OPTIONS_OF_BOTH},
    {{"name", required_argument, NULL, 'n'}, OPTIONS_OF_WORKER},
    {{"run", required_argument, NULL, 'r'}, OPTIONS_OF_WORKER},
    {{"out", required_argument, NULL, 'o'}, OPTIONS_OF_BOTH},
    {{"resume", required_argument, NULL, 'R'}, OPTIONS_OF_LOCAL},
    {{"quiet-hours", required_argument, NULL, 'q'}, OPTIONS_OF_BOTH},
    {{"device", required_argument, NULL, 'D'}, OPTIONS_OF_BOTH},
    {{"learning-rate", required_argument, NULL, LEARNING_RATE}, OPTIONS_OF_LOCAL},
    {{"on-battery", no_argument, NULL, 'B'}, OPTIONS_OF_BOTH},
    {{"check", no_argument, NULL, 'k'}, OPTIONS_OF_WORKER},
    {{"once", no_argument, NULL, 'O'}, OPTIONS_OF_WORKER},
    {{"help", no_argument, NULL, 'h'}, OPTIONS_OF_BOTH},
    {{"version", no_argument, NULL, 'v'}, OPTIONS_OF_BOTH},
};

#define OTHERS (sizeof others / sizeof *others)

/* The program whose command line is read. */
static const options_program *program;

options_answer options_wrong(const char *what, const char *remedy) {
    fprintf(stderr, "%s: %s\n%s\n", program->name, what, remedy);
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
    return options_wrong(what, remedy);
}

/* Reads a learning rate. */
static options_answer read_rate(options *o, const char *text) {
    char *end;

    o->local.learning_rate = strtod(text, &end);
    if (end != text && *end == '\0' && o->local.learning_rate > 0 && o->local.learning_rate <= 1)
        return OPTIONS_GO;
    return options_wrong("--learning-rate is not a number above 0 and at most 1",
                         "For example: --learning-rate 0.0002");
}

/* Reads a worker's name; the server allows plain characters only. */
static options_answer read_name(char name[33], const char *text) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-";
    size_t length = strlen(text);

    if (length < 1 || length > 32 || strspn(text, plain) != length ||
        strchr(" ._-", text[0]) != NULL)
        return options_wrong(
            "--name must be 1 to 32 letters, digits, spaces, dots, dashes or underscores, "
            "and begin with a letter or digit",
            "For example: --name alice-laptop");
    memcpy(name, text, length + 1);
    return OPTIONS_GO;
}

/* Reads the name of a device: letters, and perhaps a number. */
static options_answer read_device(options *o, const char *text) {
    size_t letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
    const char *rest = text + letters;
    bool number = rest[0] == ':' && rest[1] != '\0' && strlen(rest) <= 4 &&
                  strspn(rest + 1, "0123456789") == strlen(rest + 1);

    o->device = text;
    if (strcmp(text, "list") == 0)
        return OPTIONS_DEVICES;
    return letters > 0 && (*rest == '\0' || number)
               ? OPTIONS_GO
               : options_wrong("--device is not the name of a device",
                               "For example: --device gpu, or --device list to see what there is");
}

/* Reads one option. */
static options_answer read_option(options *o, int option, char *text) {
    switch (option) {
    case 'c':
        return program->connect(o, text);
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
                   : options_wrong("--quiet-hours are not two different times of a day",
                                   "For example: --quiet-hours 22:00-07:00");
    case 'D':
        return read_device(o, text);
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
        fputs(program->usage, stdout);
        return OPTIONS_DONE;
    case 'v':
        printf("%s %s\n", program->name, GANN_VERSION);
        return OPTIONS_DONE;
    default:
        return read_number(o, (size_t)(option - NUMBER), text);
    }
}

/* Tells whether a value is in fact the next option, because the value was forgotten. No value of
 * ours begins with two dashes. */
static bool is_option(const char *value) {
    return value != NULL && strncmp(value, "--", 2) == 0;
}

/* Reads all options. Messages of getopt's own would show what follows "=", which may be a
 * password. */
static options_answer read_all(options *o, const struct option *known, int argc, char **argv) {
    options_answer answer = OPTIONS_GO;
    int option, which = 0;
    char what[200], remedy[100];

    snprintf(remedy, sizeof remedy, "%s --help lists the options.", program->name);
    opterr = 0;
    optind = 0; /* makes glibc start over */
    while (answer == OPTIONS_GO && (option = getopt_long(argc, argv, ":", known, &which)) != -1) {
        if (option == ':' || option == '?') {
            mistyped_describe(what, sizeof what, option, known, argc, argv);
            return options_wrong(what, remedy);
        }
        if (is_option(optarg) && argv[optind - 1] == optarg) {
            snprintf(what, sizeof what, "--%s needs a value", known[which].name);
            return options_wrong(what, remedy);
        }
        answer = read_option(o, option, optarg);
    }
    return answer;
}

/* Makes the list of the program's options. */
static void list_options(struct option known[NUMBERS + OTHERS + 1]) {
    size_t count = 0;

    memset(known, 0, (NUMBERS + OTHERS + 1) * sizeof *known);
    for (size_t i = 0; i < OTHERS; i++)
        if (others[i].of & program->takes)
            known[count++] = others[i].option;
    for (size_t i = 0; i < NUMBERS; i++)
        if (numbers[i].of & program->takes)
            known[count++] =
                (struct option){numbers[i].name, required_argument, NULL, NUMBER + (int)i};
}

/* Sets the defaults. */
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

options_answer options_read(options *o, const options_program *whose, int argc, char **argv) {
    struct option known[NUMBERS + OTHERS + 1];
    options_answer answer;

    program = whose;
    set_defaults(o);
    list_options(known);
    answer = read_all(o, known, argc, argv);
    if (answer == OPTIONS_GO)
        answer = program->words(o, argc - optind, argv + optind);
    o->local.network.discriminator_features = o->local.network.generator_features;
    return answer;
}

void options_free(options *o) {
    free(o->connect);
    o->connect = NULL;
}
