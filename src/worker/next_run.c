/*
 * next_run.c - waiting for a run
 *
 * No connection is held meanwhile: after class, waiting workers send the server only a short
 * question now and then.
 */
#include "next_run.h"
#include "../common/backoff.h"
#include "../student/display.h"
#include "../common/stop.h"

#include <stdio.h>
#include <string.h>

#define ASK_SECONDS 10.0

#define NO_RUN_YET "UG002" /* of gan_run_config: the class has no run */
#define WHICH_RUN "42704"  /* several, or none of that name */

/* A search: what is looked for, and what was said last, so that nothing is said twice. */
typedef struct search {
    server *server;
    const options *options;
    const char *name; /* NULL: any run */
    int32_t last;     /* number of the previous run, which is over; 0: none */
    char said[300];
    backoff wait;
} search;

/* Says once what the program waits for. */
static void say_waiting(search *f, const char *why) {
    char text[sizeof f->said];
    size_t length = strlen(why);

    if (length > 0 && why[length - 1] == '.')
        length--;
    snprintf(text, sizeof text, "%.*s; waiting for the next run (Ctrl-C ends the program)",
             (int)length, why);
    if (strcmp(f->said, text) != 0)
        display_say("%s", text);
    memcpy(f->said, text, sizeof text);
}

/* Tells whether an answer means that there is no run to choose yet. */
static bool is_too_early(const search *f) {
    const char *state = server_state(f->server);

    return !f->options->once &&
           (strcmp(state, NO_RUN_YET) == 0 || (f->last > 0 && strcmp(state, WHICH_RUN) == 0));
}

/* Handles an answer without a run. NEXT_RUN_FOUND: ask again, after *seconds. */
static next_run take_failure(search *f, server_status status, double *seconds) {
    if (stop_asked())
        return NEXT_RUN_STOPPED;
    if (status == SERVER_FATAL && is_too_early(f)) {
        say_waiting(f, server_trouble(f->server)->what);
        return NEXT_RUN_FOUND;
    }
    if (status == SERVER_FATAL || f->wait.ceiling == 0)
        display_warn("%s", server_error(f->server));
    if (status == SERVER_FATAL)
        return NEXT_RUN_FAILED;
    *seconds = backoff_next(&f->wait);
    return NEXT_RUN_FOUND;
}

/* Handles a run that is over, or older than the last one. */
static next_run take_other(search *f, const server_run *run) {
    char why[160];

    if (f->last > 0 && !f->options->once)
        return NEXT_RUN_FOUND;
    snprintf(why, sizeof why, "run \"%s\" %s", run->name,
             strcmp(run->state, "stopped") == 0 ? "was stopped" : "is finished");
    if (f->options->once) {
        display_say("%s", why);
        return NEXT_RUN_STOPPED;
    }
    say_waiting(f, why);
    f->last = run->run;
    f->name = NULL;
    return NEXT_RUN_FOUND;
}

next_run next_run_find(server *s, const options *o, bool after, server_run *run) {
    search f = {
        .server = s, .options = o, .name = after ? NULL : o->run, .last = after ? run->run : 0};

    if (after)
        say_waiting(&f, "this run is over");
    for (;;) {
        double seconds = backoff_jitter(ASK_SECONDS);
        next_run answer;
        server_run found;
        server_status status = server_run_config(s, f.name, &found);

        if (status == SERVER_OK && backoff_reset(&f.wait))
            display_say("the server answers again");
        if (status == SERVER_OK && !found.over && found.run >= f.last) {
            *run = found;
            return NEXT_RUN_FOUND;
        }
        answer = status == SERVER_OK ? take_other(&f, &found) : take_failure(&f, status, &seconds);
        if (answer != NEXT_RUN_FOUND)
            return answer;
        server_hang_up(s);
        if (stop_wait(-1, 0, seconds) == STOP_ASKED)
            return NEXT_RUN_STOPPED;
    }
}
