/*
 * display.c - lines for people
 */
#define _DEFAULT_SOURCE

#include "display.h"
#include "../common/hardware.h"
#include "../common/plain.h"

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
#define NOTE_COLUMNS 14 /* of "64/128 images" */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool live;    /* standard output is a terminal */
static bool started; /* the rewritten line is on the screen */

void display_open(void) {
    live = isatty(STDOUT_FILENO) == 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
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

/* Appends a field to a line of at most columns; a field that does not fit is left out whole. */
static void add_field(char line[LINE_SIZE], size_t columns, const char *format, ...) {
    size_t length = strlen(line);
    char field[LINE_SIZE];
    va_list values;

    va_start(values, format);
    vsnprintf(field, sizeof field, format, values);
    va_end(values);
    if (length + (length > 0 ? 2 : 0) + strlen(field) <= columns)
        snprintf(line + length, LINE_SIZE - length, "%s%s", length > 0 ? "  " : "", field);
}

/* Appends "iteration 214/1000  D 0.52  G 2.31  148 images/s  units 37  ETA 1 h 20 min  rank 3 of 28
 * (4.1 %)" to the line, or the fields of it for which there is room. */
static void write_state(char line[LINE_SIZE], size_t columns, const display_state *state) {
    char duration[30];

    add_field(line, columns, "iteration %" PRIu32 "/%" PRId64, state->iteration, state->target);
    if (state->any)
        add_field(line, columns, "D %.2f  G %.2f  %.*f images/s", state->loss_d, state->loss_g,
                  state->speed < 10 ? 1 : 0, state->speed);
    if (state->units > 0 || !state->any) /* gan_local has none */
        add_field(line, columns, "units %" PRIu64, state->units);
    display_duration(duration, sizeof duration, state->seconds_left);
    if (state->seconds_left > 0)
        add_field(line, columns, "ETA %s", duration);
    if (state->rank > 0)
        add_field(line, columns, "rank %" PRId32 " of %" PRId32 " (%.1f %%)", state->rank,
                  state->of, 100 * state->share);
}

/* Returns the most columns of a line that is rewritten: a line that wraps could not be. */
static size_t line_columns(void) {
    struct winsize window;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1
               ? (size_t)window.ws_col - 1
               : LINE_SIZE;
}

/* Cuts a text after a number of characters. */
static void cut(char *text, size_t columns) {
    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80 && columns-- == 0)
            break;
    *text = '\0';
}

void display_progress(const display_state *state, const char *note) {
    char line[LINE_SIZE] = "";
    size_t columns = line_columns();

    if (!live)
        return;
    if (columns > LINE_SIZE - 1)
        columns = LINE_SIZE - 1;
    /* the moving part comes first, so that a narrow terminal shows it; it is padded, so that the
     * rest stays in place */
    if (note[0] != '\0')
        snprintf(line, sizeof line, "%-*.*s", NOTE_COLUMNS, (int)strcspn(note, "\n"), note);
    write_state(line, columns, state);
    plain_text(line); /* it may contain text from the server */
    cut(line, columns);
    pthread_mutex_lock(&lock);
    printf("\r%s\033[K", line);
    fflush(stdout);
    started = true;
    pthread_mutex_unlock(&lock);
}

void display_unit(const display_state *state) {
    char line[LINE_SIZE] = "";

    if (live) {
        display_progress(state, "");
        return;
    }
    write_state(line, LINE_SIZE - 1, state);
    display_say("%s", line);
}

/* Prints a text with a line's end. Control characters, which may come from the server, become
 * "?". */
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

void display_threads(int threads, bool given) {
    int cores = hardware_cores();

    if (!given)
        display_say("computing with %d of %d core%s (--threads changes it)", threads, cores,
                    cores == 1 ? "" : "s");
    else if (threads > cores)
        display_warn(
            "--threads %d is more than the %d core%s of this computer, which makes it slower.\n"
            "Use --threads %d.",
            threads, cores, cores == 1 ? "" : "s", cores);
}
