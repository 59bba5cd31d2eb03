/*
 * display.c - lines for people
 */
#define _POSIX_C_SOURCE 200809L

#include "display.h"
#include "plain.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 200
#define TEXT_SIZE 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool live;    /* standard output is a terminal */
static bool started; /* the rewritten line is on the screen */

void display_open(void) {
    live = isatty(STDOUT_FILENO) == 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
}

bool display_live(void) {
    return live;
}

/* Puts "iteration 214/1000  D 0.52  G 2.31  148 images/s  units 37" together. */
static void write_state(char line[LINE_SIZE], const display_state *state) {
    char numbers[LINE_SIZE / 2] = "";

    if (state->any)
        snprintf(numbers, sizeof numbers, "  D %.2f  G %.2f  %.*f images/s", state->loss_d, state->loss_g,
                 state->speed < 10 ? 1 : 0, state->speed);
    snprintf(line, LINE_SIZE, "iteration %" PRIu32 "/%" PRId64 "%s  units %" PRIu64, state->iteration,
             state->target, numbers, state->units);
}

void display_progress(const display_state *state, const char *note) {
    char line[LINE_SIZE], plain[LINE_SIZE];

    if (!live)
        return;
    write_state(line, state);
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(note, "\n"),
             note); /* what the server said may be in it */
    plain_text(plain);
    pthread_mutex_lock(&lock);
    printf("\r%s  %s\033[K", line, plain);
    fflush(stdout);
    started = true;
    pthread_mutex_unlock(&lock);
}

void display_unit(const display_state *state) {
    char line[LINE_SIZE];

    if (live) {
        display_progress(state, "");
        return;
    }
    write_state(line, state);
    display_say("%s", line);
}

/* Prints a text with a line's end; what the server may have put into it for the terminal becomes "?". */
static void print_lines(FILE *stream, const char *format, va_list values) {
    char text[TEXT_SIZE];

    vsnprintf(text, sizeof text, format, values);
    plain_text(text);
    pthread_mutex_lock(&lock);
    if (started) {
        fputs("\r\033[K", stdout);
        fflush(stdout);
        started = false;
    }
    fprintf(stream, "%s\n", text);
    fflush(stream);
    pthread_mutex_unlock(&lock);
}

void display_say(const char *format, ...) {
    va_list values;

    va_start(values, format);
    print_lines(stdout, format, values);
    va_end(values);
}

void display_warn(const char *format, ...) {
    va_list values;

    va_start(values, format);
    print_lines(stderr, format, values);
    va_end(values);
}
