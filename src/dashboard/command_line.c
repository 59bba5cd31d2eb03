/*
 * command_line.c - the command line, by getopt_long
 */
#define _GNU_SOURCE

#include "command_line.h"
#include "../common/mistyped.h"
#include "access.h"
#include "route.h"

#include <errno.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_VARIABLE "GAN_DASHBOARD_TOKEN"

static const char usage[] =
    "gan_dashboard shows a class's training in the browser: one page, fed from the database.\n"
    "\n"
    "  gan_dashboard [--connect URI] [option ...]\n"
    "\n"
    "  --connect URI       a connection string, postgresql://..., of a login in the role "
    "gan_viewer; may also\n"
    "                      be given without --connect. Without any, PGHOST, PGUSER, PGPASSWORD ... "
    "are used\n"
    "  --listen HOST:PORT  where browsers find it (default: 127.0.0.1:8765, this machine only; "
    "port 0: a free\n"
    "                      one)\n"
    "  --host NAME         a host name, besides localhost, by which browsers reach this program "
    "through a\n"
    "                      proxy; may be repeated\n"
    "  --token-file FILE   ask for the access token in the file's first line; also: "
    "GAN_DASHBOARD_TOKEN\n"
    "  --connections N     connections at a time (default: 4096): an open page holds one, a page "
    "that loads six\n"
    "  --per-address N     the same from one address (default: 2048)\n"
    "  --cache MB          memory for sheets of samples (default: 64)\n"
    "  --help, --version\n"
    "\n"
    "Ctrl-C ends it.\n";

static const struct option known[] = {
    {"connect", required_argument, NULL, 'c'},     {"listen", required_argument, NULL, 'l'},
    {"host", required_argument, NULL, 'o'},        {"token-file", required_argument, NULL, 't'},
    {"connections", required_argument, NULL, 'n'}, {"per-address", required_argument, NULL, 'a'},
    {"cache", required_argument, NULL, 'm'},       {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},           {NULL, 0, NULL, 0}};

/* Prints a mistake and what to do about it. */
static options_answer wrong(const char *what, const char *remedy) {
    fprintf(stderr, "gan_dashboard: %s\n%s\n", what, remedy);
    return OPTIONS_WRONG;
}

/* Reads a whole number within limits. */
static options_answer read_number(const char *option, const char *text, int low, int high,
                                  int *number) {
    char what[100];

    if (route_number(text, number) && *number >= low && *number <= high)
        return OPTIONS_GO;
    snprintf(what, sizeof what, "--%s is not a number from %d to %d", option, low, high);
    return wrong(what, "gan_dashboard --help lists the options.");
}

/* Takes a connection string out of argv. Never prints any of it: it may hold a password, and so do
 * libpq's messages. */
static options_answer take_connect(options *o, char *text) {
    PQconninfoOption *parsed;
    bool string = strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
                  strncmp(text, "postgresql://", 13) == 0;

    if (o->connect != NULL)
        return wrong("more than one connection string", "Give one, in quotes: 'postgresql://...'");
    if ((o->connect = strdup(text)) == NULL)
        return wrong("not enough memory", "Close other programs.");
    memset(text, 'x', strlen(text));
    if (!string || (parsed = PQconninfoParse(o->connect, NULL)) == NULL)
        return wrong(
            "the connection string cannot be read",
            "It has the form 'postgresql://login:password@host:5432/database', in quotes.");
    PQconninfoFree(parsed);
    return OPTIONS_GO;
}

/* Keeps a token if it is valid. */
static options_answer take_token(options *o, const char *token) {
    if (!access_token_fine(token))
        return wrong("the access token must be 8 to 200 letters, digits or -._~",
                     "For example: openssl rand -hex 16 > token");
    free(o->token);
    o->token = strdup(token);
    return o->token != NULL ? OPTIONS_GO : wrong("not enough memory", "Close other programs.");
}

/* Reads the token from the first line of a file. */
static options_answer read_token(options *o, const char *path) {
    char line[ACCESS_TOKEN_MAX + 2] = "", what[400];
    FILE *in = fopen(path, "r");

    if (in == NULL || fgets(line, sizeof line, in) == NULL) {
        snprintf(what, sizeof what, "the token file %.300s cannot be read: %s", path,
                 in == NULL ? strerror(errno) : "it is empty");
        if (in != NULL)
            fclose(in);
        return wrong(what, "For example: openssl rand -hex 16 > token");
    }
    fclose(in);
    line[strcspn(line, "\r\n")] = '\0';
    return take_token(o, line);
}

int options_listen(options *o, const char *text) {
    bool bracket = text[0] == '[';
    const char *host = text + bracket;
    size_t length = strcspn(host, bracket ? "]" : ":");
    const char *rest = host + length;
    int port;

    if (bracket && *rest++ != ']')
        return -1;
    if (length >= sizeof o->host || (length == 0 && (bracket || *rest == '\0')))
        return -1;
    if (*rest != '\0' && (*rest != ':' || !route_number(rest + 1, &port) || port > 65535))
        return -1;
    if (length > 0)
        snprintf(o->host, sizeof o->host, "%.*s", (int)length, host);
    if (*rest == ':')
        snprintf(o->port, sizeof o->port, "%.5s", rest + 1);
    return 0;
}

/* Keeps one of this program's names. */
static options_answer take_name(options *o, const char *name) {
    if (o->name_count == OPTIONS_NAMES_MAX)
        return wrong("--host was given too often",
                     "A proxy can send the same Host for all its names.");
    if (name[0] == '\0' || (name[0] != '[' && strpbrk(name, ":/ ") != NULL))
        return wrong("--host is not a host name",
                     "Leave out scheme, port and path. For example: --host faces.example.edu");
    o->names[o->name_count++] = name;
    return OPTIONS_GO;
}

/* Reads one option. */
static options_answer read_option(options *o, int option, char *text) {
    options_answer answer;
    int number = 0;

    switch (option) {
    case 'c':
        return take_connect(o, text);
    case 'l':
        return options_listen(o, text) == 0
                   ? OPTIONS_GO
                   : wrong("--listen is not an address",
                           "For example: --listen 127.0.0.1:8765, or --listen '[::]:8765'");
    case 'o':
        return take_name(o, text);
    case 't':
        return read_token(o, text);
    case 'n':
        answer = read_number("connections", text, 1, 60000, &number);
        o->connections = (unsigned)number;
        return answer;
    case 'a':
        answer = read_number("per-address", text, 1, 60000, &number);
        o->per_address = (unsigned)number;
        return answer;
    case 'm':
        answer = read_number("cache", text, 1, 65536, &number);
        o->cache_mb = (size_t)number;
        return answer;
    case 'h':
        fputs(usage, stdout);
        return OPTIONS_DONE;
    case 'v':
        puts("gan_dashboard " GANN_VERSION);
        return OPTIONS_DONE;
    default:
        return OPTIONS_WRONG; /* not reached: read_all() keeps these */
    }
}

/* Reads all options. Messages of getopt's own would show what follows "=", which may be a
 * password. */
static options_answer read_all(options *o, int argc, char **argv) {
    options_answer answer = OPTIONS_GO;
    int option, which = 0;
    char what[200];

    opterr = 0;
    while (answer == OPTIONS_GO && (option = getopt_long(argc, argv, ":", known, &which)) != -1) {
        bool forgotten =
            optarg != NULL && argv[optind - 1] == optarg && strncmp(optarg, "--", 2) == 0;

        if (option == ':' || option == '?')
            mistyped_describe(what, sizeof what, option, known, argc, argv);
        else if (forgotten)
            snprintf(what, sizeof what, "--%s needs a value", known[which].name);
        else {
            answer = read_option(o, option, optarg);
            continue;
        }
        answer = wrong(what, "gan_dashboard --help lists the options.");
    }
    return answer;
}

options_answer options_read(options *o, int argc, char **argv) {
    options_answer answer;
    const char *token = getenv(TOKEN_VARIABLE);

    *o = (options){.host = "127.0.0.1",
                   .port = "8765",
                   .connections = 4096,
                   .per_address = 2048,
                   .cache_mb = 64};
    answer = read_all(o, argc, argv);
    if (answer == OPTIONS_GO && argc - optind > 1)
        answer = wrong("too many arguments", "gan_dashboard --help lists the options.");
    else if (answer == OPTIONS_GO && optind < argc)
        answer = take_connect(o, argv[optind]);
    if (answer == OPTIONS_GO && o->token == NULL && token != NULL && token[0] != '\0')
        answer = take_token(o, token);
    return answer;
}

void options_free(options *o) {
    free(o->connect);
    free(o->token);
    o->connect = o->token = NULL;
}
