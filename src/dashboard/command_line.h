/*
 * command_line.h - the command line
 */
#ifndef GANN_DASHBOARD_COMMAND_LINE_H
#define GANN_DASHBOARD_COMMAND_LINE_H

#include <stddef.h>

#define OPTIONS_NAMES_MAX 8

typedef struct options {
    /* connection string, NULL for libpq's environment variables; it may hold a password */
    char *connect;
    char host[256]; /* address to listen at */
    char port[6];   /* "0": any free one */
    char *token;    /* NULL: none is asked for */
    /* names by which browsers reach this program, besides this machine's own */
    const char *names[OPTIONS_NAMES_MAX];
    size_t name_count;
    unsigned connections; /* at a time */
    unsigned per_address; /* of them, from one address */
    size_t cache_mb;      /* for sheets */
} options;

typedef enum options_answer { OPTIONS_GO, OPTIONS_DONE, OPTIONS_WRONG } options_answer;

/*
 * Reads the command line and the token. OPTIONS_DONE: --help or --version was answered;
 * OPTIONS_WRONG: the mistake was printed on standard error. A connection string is removed from
 * argv, where every user of the machine could read it.
 */
options_answer options_read(options *o, int argc, char **argv);

/* Frees what options_read() allocated. */
void options_free(options *o);

/*
 * Takes "HOST", "HOST:PORT", ":PORT", "[HOST]:PORT" or "[HOST]" apart; a part that is left out
 * keeps its value. Returns 0, or -1 if the text is none of these.
 */
int options_listen(options *o, const char *text);

#endif
