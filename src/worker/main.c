/*
 * main.c - gan_worker, the student's program: computes work units of a class's GAN
 */
#define _DEFAULT_SOURCE

#include "check.h"
#include "term/display.h"
#include "session/find_data.h"
#include "../local/local.h"
#include "../common/hardware.h"
#include "session/loop.h"
#include "next_run.h"
#include "../local/sample.h"
#include "../common/stop.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MISTAKE 2 /* the exit status where trying again would not help */

/* Says how many threads compute, where nobody has said how many shall; warns of more than there are
 * cores. */
static void say_threads(const options *o) {
    int cores = hardware_cores();

    if (!o->threads_given)
        display_say("computing with %d of %d core%s (--threads changes it)", o->threads, cores,
                    cores == 1 ? "" : "s");
    else if (o->threads > cores)
        display_warn(
            "--threads %d is more than the %d core%s of this computer, which makes it slower.\n"
            "Use --threads %d.",
            o->threads, cores, cores == 1 ? "" : "s", cores);
}

/* Works in one run. Returns the exit status; over: the run is. */
static int work_in_run(server *s, const options *o, const server_run *run, bool *over) {
    dataset *data = find_data(o, run);
    loop_end end = LOOP_FAILED;

    *over = false;
    if (!data)
        return MISTAKE;
    display_say("%s", dataset_describe(data));
    say_threads(o);
    if (dataset_prepare(data, (int)run->network.image_size, (int)run->network.channels) != 0)
        display_warn("There is not enough memory for the images.\nClose other programs, or use a "
                     "smaller --cache.");
    else
        end = loop_run(s, o, run, data);
    dataset_close(data);
    *over = end == LOOP_RUN_OVER;
    return end == LOOP_FAILED ? MISTAKE : 0;
}

/* Works in one run after the other. */
static int work(server *s, const options *o) {
    server_run run = {0};
    next_run found;
    bool over = false;
    int status = 0;

    while ((found = next_run_find(s, o, over, &run)) == NEXT_RUN_FOUND) {
        status = work_in_run(s, o, &run, &over);
        if (!over || o->once)
            return status;
    }
    return found == NEXT_RUN_FAILED ? MISTAKE : 0;
}

/* Works for a class, or checks whether it could. */
static int work_or_check(const options *o) {
    server *s = server_new(o->connect);
    int status;

    if (!s) {
        display_warn("There is not enough memory for a connection.\nClose other programs.");
        return 1;
    }
    status = o->check ? check_run(s, o) : work(s, o);
    server_free(s);
    return status;
}

int main(int argc, char **argv) {
    options o;
    int status;
    options_answer answer = options_read(&o, argc, argv);

    if (answer != OPTIONS_GO)
        return answer == OPTIONS_DONE ? 0 : 2;
    display_open();
    if (stop_install() != 0) {
        display_warn("The signal handlers can't be installed.\nStart the program again.");
        return 1;
    }
    if (o.nice > 0 && nice(o.nice) == -1)
        display_warn(
            "The priority can't be lowered by %d.\nThere is nothing to do: it stays as it is.",
            o.nice);
    if (o.command == OPTIONS_LOCAL) {
        say_threads(&o);
        status = local_run(&o) == 0 ? 0 : MISTAKE;
    } else
        status = o.command == OPTIONS_SAMPLE ? sample_run(&o) : work_or_check(&o);
    options_free(&o);
    return status;
}
