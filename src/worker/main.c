/*
 * main.c - gan_worker, the student's program: computes work units of a class's GAN
 */
#include "worker_options.h"
#include "check.h"
#include "../student/begin.h"
#include "../student/device.h"
#include "../student/display.h"
#include "session/loop.h"
#include "next_run.h"
#include "sample.h"
#include "wanted.h"

#include <stdio.h>
#include <string.h>

#define MISTAKE 2 /* the exit status where trying again would not help */

/* Works in one run. Returns the exit status; *over: whether the run is over. */
static int work_in_run(server *s, const options *o, const server_run *run, bool *over) {
    wanted_images wanted = wanted_by(run);
    dataset *data = find_data(o, &wanted);
    loop_end end = LOOP_FAILED;

    *over = false;
    if (!data)
        return MISTAKE;
    display_say("%s", dataset_describe(data));
    display_threads(o->threads, o->threads_given);
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
    options_answer answer = worker_options_read(&o, argc, argv);

    if (answer == OPTIONS_DEVICES)
        device_list();
    if (answer != OPTIONS_GO)
        return answer == OPTIONS_DONE || answer == OPTIONS_DEVICES ? 0 : 2;
    if (!begin_program(&o))
        return 1;
    status = o.sample ? sample_run(&o) : work_or_check(&o);
    options_free(&o);
    return status;
}
