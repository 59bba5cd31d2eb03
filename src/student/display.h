/*
 * display.h - everything the program says. On a terminal one line is rewritten again and again; in
 * a pipe there is a plain line for each unit. Any thread may call these functions.
 */
#ifndef GANN_DISPLAY_H
#define GANN_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct display_state {
    uint32_t iteration;
    int64_t target;
    double loss_d, loss_g;
    double speed; /* images/s of computing */
    uint64_t units;
    bool any;            /* a unit was submitted: the losses and the speed are known */
    double seconds_left; /* estimate for the run; 0: unknown */
    int32_t rank, of;    /* place among `of` students, by averaged images; 0: unknown */
    double share;        /* of all these images, 0 to 1 */
} display_state;

/* Writes "3 d 4 h", "1 h 20 min" or "40 s". */
void display_duration(char *text, size_t size, double seconds);

/* Finds out whether there is a terminal. */
void display_open(void);

/* Rewrites the line on a terminal; note, for example "64/128 images", comes first and may be empty.
 * Fields that don't fit are left out from the end. */
void display_progress(const display_state *state, const char *note);

/* Shows that a unit was submitted. */
void display_unit(const display_state *state);

/* Says one line on standard output. */
void display_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says one line on standard error, or more if the text has more. */
void display_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says how many threads compute, if --threads was not given; warns of more threads than cores. */
void display_threads(int threads, bool given);

#endif
