/*
 * display.c - lines for people
 */
#define _DEFAULT_SOURCE

#include "display.h"
#include "plain.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
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

void display_duration(char *text, size_t size, double seconds) {
    double minutes = floor(seconds / 60), hours = floor(minutes / 60), days = floor(hours / 24);

    if (!(seconds < 1e9))
        snprintf(text, size, "years");
    else if (days >= 1)
        snprintf(text, size, "%.0f d %.0f h", days, hours - 24 * days);
    else if (hours >= 1)
        snprintf(text, size, "%.0f h %.0f min", hours, minutes - 60 * hours);
    else if (minutes >= 1)
        snprintf(text, size, "%.0f min", minutes);
    else
        snprintf(text, size, "%.0f s", seconds > 0 ? seconds : 0);
}

/* Puts "iteration 214/1000  D 0.52  G 2.31  148 images/s  units 37  ETA 1 h 20 min  rank 3 of 28 (4.1 %)"
 * together. */
static void write_state(char line[LINE_SIZE], const display_state *state) {
    char numbers[LINE_SIZE / 2] = "", units[32] = "", left[40] = "", rank[60] = "", duration[30];

    if (state->any)
        snprintf(numbers, sizeof numbers, "  D %.2f  G %.2f  %.*f images/s", state->loss_d, state->loss_g,
                 state->speed < 10 ? 1 : 0, state->speed);
    display_duration(duration, sizeof duration, state->seconds_left);
    if (state->seconds_left > 0)
        snprintf(left, sizeof left, "  ETA %s", duration);
    if (state->rank > 0)
        snprintf(rank, sizeof rank, "  rank %" PRId32 " of %" PRId32 " (%.1f %%)", state->rank, state->of,
                 100 * state->share);
    if (state->units > 0 || !state->any) /* on one machine alone there are none */
        snprintf(units, sizeof units, "  units %" PRIu64, state->units);
    snprintf(line, LINE_SIZE, "iteration %" PRIu32 "/%" PRId64 "%s%s%s%s", state->iteration, state->target,
             numbers, units, left, rank);
}

/* Returns how many columns a line may have that is to be rewritten: one that wraps could not be. */
static size_t line_columns(void) {
    struct winsize window;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? (size_t)window.ws_col - 1
                                                                               : LINE_SIZE;
}

/* Cuts a text after so many characters. */
static void cut(char *text, size_t columns) {
    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && columns-- == 0)
            break;
    *text = '\0';
}

void display_progress(const display_state *state, const char *note) {
    char line[LINE_SIZE], whole[2 * LINE_SIZE];

    if (!live)
        return;
    write_state(line, state);
    snprintf(whole, sizeof whole, "%s  %.*s", line, (int)strcspn(note, "\n"), note);
    plain_text(whole); /* what the server said may be in it */
    cut(whole, line_columns());
    pthread_mutex_lock(&lock);
    printf("\r%s\033[K", whole);
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
