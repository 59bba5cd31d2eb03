/*
 * main.c - gan_worker, the student's program: computes work units of a class's GAN
 */
#define _DEFAULT_SOURCE

#include "backoff.h"
#include "check.h"
#include "display.h"
#include "find_data.h"
#include "local.h"
#include "loop.h"
#include "sample.h"
#include "stop.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Asks for the run's configuration until the server answers. */
static int read_run(server *s, const options *o, server_run *run) {
    backoff wait = {0};

    for (;;) {
        server_status status = server_run_config(s, o->run, run);
        if (status == SERVER_OK)
            return 0;
        if (status == SERVER_FATAL || wait.ceiling == 0)
            display_warn("%s", server_error(s));
        if (status == SERVER_FATAL)
            return -1;
        if (wait.ceiling == 0)
            display_warn("trying again until the server answers");
        if (stop_wait(-1, 0, backoff_next(&wait)) == STOP_ASKED)
            return -1;
    }
}

/* Joins the run with the dataset and works. */
static int work(server *s, const options *o) {
    server_run run;
    int status = 1;
    dataset *data;

    if (read_run(s, o, &run) != 0)
        return stop_asked() ? 0 : 1;
    data = find_data(o, &run);
    if (!data)
        return 1;
    display_say("%s", dataset_describe(data));
    if (dataset_prepare(data, (int)run.network.image_size, (int)run.network.channels) != 0)
        display_warn("out of memory for the dataset");
    else
        status = loop_run(s, o, &run, data);
    dataset_close(data);
    return status;
}

/* Works for a class, or checks whether it could. */
static int work_or_check(const options *o) {
    server *s = server_new(o->connect);
    int status;

    if (!s) {
        fprintf(stderr, "gan_worker: out of memory\n");
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
        fprintf(stderr, "gan_worker: the signal handlers can't be installed\n");
        return 1;
    }
    if (o.nice > 0 && nice(o.nice) == -1)
        display_warn("the priority can't be lowered by %d", o.nice);
    if (o.command == OPTIONS_LOCAL)
        status = local_run(&o);
    else
        status = o.command == OPTIONS_SAMPLE ? sample_run(&o) : work_or_check(&o);
    options_free(&o);
    return status;
}
