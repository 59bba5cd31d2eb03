/*
 * check.c - gan_worker --check
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "../student/device.h"
#include "../student/display.h"
#include "../student/speed.h"
#include "wanted.h"
#include "../common/clock.h"
#include "../common/stop.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOCK_SECONDS 60.0 /* more would misjudge a certificate that is new or about to expire */
#define LINK_SECONDS 60.0  /* for an iteration's weights */

/* What the exit status says: all is fine; something may pass by itself, or is tolerable; something
 * needs a person. */
typedef enum finding { FINE, PASSES, MISTAKE } finding;

static finding worst(finding a, finding b) {
    return a > b ? a : b;
}

/* Prints one line of the report; anything that is not fine comes with its remedy. */
static finding line(finding f, const char *what, const char *found, const char *remedy) {
    display_say("%-10s %-6s %s", what, f == FINE ? "ok" : "NOT OK", found);
    if (f != FINE)
        display_say("%-17s %s", "", remedy);
    return f;
}

/* Prints the line of a check that failed at the server. --check does not try again by itself, so
 * the remedy tells the person to. */
static finding failed(const server *s, const char *what) {
    const trouble *t = server_trouble(s);
    size_t length = strcspn(t->remedy, ";");

    if (!t->passes)
        return line(MISTAKE, what, t->what, t->remedy);
    if (t->remedy[length] == ';')
        display_say("%-10s NOT OK %s\n%-17s %.*s, or try again.", what, t->what, "", (int)length,
                    t->remedy);
    else
        line(PASSES, what, t->what, "Try again.");
    return PASSES;
}

/* Prints the line of a check that could not be tried because an earlier one failed. */
static void not_tried(const char *what) {
    display_say("%-10s not tried", what);
}

/* Returns the seconds since 1970. */
static double now(void) {
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* Compares this machine's clock with the server's, by which leases run. before and after are this
 * machine's readings around the server's. */
static finding check_clock(double before, double theirs, double after) {
    double difference = (before + after) / 2 - theirs;
    char text[128], duration[32];

    display_duration(duration, sizeof duration, fabs(difference));
    if (fabs(difference) < 1)
        snprintf(text, sizeof text, "as the server's");
    else
        snprintf(text, sizeof text, "%s %s the server's", duration,
                 difference > 0 ? "ahead of" : "behind");
    return line(fabs(difference) <= CLOCK_SECONDS ? FINE : PASSES, "clock", text,
                "Set the clock: sudo timedatectl set-ntp true. Leases follow the server's clock; "
                "certificates are checked against yours.");
}

/* Tries the connection and the login. */
static finding check_server(server *s) {
    char text[512];
    server_greeting greeting;
    double before;
    bool safe;
    finding f;

    if (server_connect(s) != SERVER_OK) {
        f = failed(s, "connection");
        not_tried("TLS");
        not_tried("clock");
        not_tried("role");
        return f;
    }
    server_describe(s, text, sizeof text);
    line(FINE, "connection", text, NULL);
    server_tls(s, text, sizeof text, &safe);
    f = line(safe ? FINE : PASSES, "TLS", text,
             "Add sslmode=require to the connection string; if the server has no TLS, tell the "
             "instructor.");
    before = now();
    if (server_hello(s, &greeting) != SERVER_OK) {
        f = worst(f, failed(s, "role"));
        not_tried("clock");
        return f;
    }
    f = worst(f, check_clock(before, greeting.clock, now()));
    return worst(f, line(greeting.student ? FINE : MISTAKE, "role", greeting.login,
                         "This login is not a student's: ask the instructor for a connection "
                         "string from gan_enroll."));
}

/* Describes the dataset and compares it with the run's, where that is known. wanted is NULL without
 * a server. */
static finding check_dataset(const dataset *data, const wanted_images *wanted) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    char text[512], difference[256];
    size_t used;
    bool same;

    dataset_digest(data, digest);
    used = (size_t)snprintf(text, sizeof text, "%s, digest ", dataset_describe(data));
    for (size_t i = 0; i < sizeof digest && used + 3 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%02x", digest[i]);
    same = wanted == NULL || !wanted->known ||
           !find_data_differs(data, wanted, difference, sizeof difference);
    return line(
        same ? FINE : MISTAKE, "dataset", same ? text : difference,
        "Get the same images as the others: the whole archive of the class, with no image added "
        "or renamed.");
}

/* Reads as many images as a minibatch has. */
static bool can_read(dataset *data, size_t batch, size_t image) {
    uint8_t *samples = malloc(image);
    bool fine = samples != NULL;

    for (size_t i = 0; fine && i < batch; i++)
        fine = dataset_image(data, i % dataset_count(data), samples) == 0;
    free(samples);
    return fine;
}

/* Computes minibatches of the run's network with fresh weights: images per second, within
 * --max-cpu. */
static finding check_speed(const options *o, const server_run *run, dataset *data, double *speed) {
    dcgan_model model;
    device_need need = {.wanted = o->device,
                        .model = &model,
                        .threads = o->threads,
                        .batch = o->batch && !run->batch_fixed ? o->batch : run->batch,
                        .smaller_batch = run->local_steps == 0 && !run->batch_fixed};
    dcgan_device *device = NULL;
    char text[160], name[80];
    dcgan_status status = dcgan_model_init(&model, &run->network);
    bool fine = status == DCGAN_OK && can_read(data, need.batch, model.image_count) &&
                device_choose(&need, &device);

    if (fine)
        status = speed_measure(&model, device, o->threads, need.batch, 0, speed);
    fine = fine && status == DCGAN_OK;
    device_name(device, name, sizeof name);
    if (fine) {
        *speed *= o->max_cpu / 100.0;
        snprintf(text, sizeof text, "%.1f images/s on %s with %d thread%s, minibatches of %zu",
                 *speed, name, o->threads, o->threads == 1 ? "" : "s", need.batch);
    } else
        snprintf(text, sizeof text,
                 "there is not enough memory, no image could be read, or no device was found");
    dcgan_device_close(device);
    return line(fine ? FINE : MISTAKE, "speed", text,
                run->batch_fixed ? "Close other programs." : "Try a smaller --batch.");
}

/* Downloads one shard of the weights and estimates how long all of them would take. */
static finding check_link(server *s, const server_run *run, double *seconds) {
    size_t count = shard_length(run->parameters, 0);
    float *values = malloc(count * sizeof *values);
    server_reply reply;
    double start = clock_now();
    char text[160];
    bool held = false;
    server_status status = SERVER_OK;

    *seconds = 0;
    if (values != NULL) {
        server_weights_send(s, run->run, (uint32_t)run->iteration, 0, &reply);
        status = server_weights_read(s, &reply, values, count, &held);
    }
    free(values);
    if (status != SERVER_OK)
        return failed(s, "link");
    if (!held)
        return line(FINE, "link", "not measured: the run took a step meanwhile", NULL);
    *seconds = (clock_now() - start) * (double)run->parameters / (double)count;
    snprintf(text, sizeof text, "%.1f MB of weights in about %.1f s",
             4e-6 * (double)run->parameters, *seconds);
    return line(*seconds <= LINK_SECONDS ? FINE : PASSES, "link", text,
                "Use a cable, or tell your instructor that the link is slow: a run with local "
                "steps or int8 transfers less.");
}

/* Estimates the credit of an hour: images count when they are averaged, and each unit costs a
 * download and about as long an upload. */
static void show_credit(const server_run *run, double speed, double link) {
    double images =
        run->local_steps > 0 ? (double)(run->local_steps * run->batch) : 5.0 * (double)run->batch;
    double up =
        link * (double)blob_size_of(SHARD_COUNT, run->upload) / (double)blob_size(SHARD_COUNT);
    char text[160];

    snprintf(text, sizeof text,
             "about %.0f images an hour, as long as there is work (units of %.0f images%s)",
             3600 * images / (images / speed + link + up), images,
             run->local_steps > 0 ? "" : ", say");
    line(FINE, "credit", text, NULL);
}

/* Tries what needs the run: the link, the dataset, the speed. */
static finding check_work(server *s, const options *o, const server_run *run) {
    double speed = 0, link;
    finding f = check_link(s, run, &link);
    wanted_images wanted = wanted_by(run);
    dataset *data = find_data(o, &wanted);

    if (data == NULL)
        f = worst(
            f, line(MISTAKE, "dataset", o->data != NULL ? o->data : "not found",
                    "Give --data a zip archive, a folder of JPEG or PNG files, or an IDX file."));
    else
        f = worst(f, check_dataset(data, &wanted));
    if (data == NULL) {
        not_tried("speed");
        return f;
    }
    if (dataset_prepare(data, (int)run->network.image_size, (int)run->network.channels) != 0)
        f = worst(f, line(MISTAKE, "speed", "there is not enough memory for the images",
                          "Close other programs."));
    else
        f = worst(f, check_speed(o, run, data, &speed));
    if (speed > 0)
        show_credit(run, speed, link);
    dataset_close(data);
    return f;
}

/* Without a server the dataset can be described, but not compared. */
static finding check_dataset_alone(const options *o) {
    dataset *data = o->data != NULL ? find_data(o, NULL) : NULL;
    finding f = FINE;

    if (data == NULL)
        not_tried("dataset");
    else
        f = check_dataset(data, NULL);
    dataset_close(data);
    return f;
}

int check_run(server *s, const options *o) {
    server_run run;
    char text[256];
    finding f = check_server(s);
    bool connected = server_connected(s),
         have_run = connected && server_run_config(s, o->run, &run) == SERVER_OK;

    if (!have_run) {
        if (connected)
            f = worst(f, failed(s, "run"));
        else
            not_tried("run");
        not_tried("link");
        f = worst(f, check_dataset_alone(o));
        not_tried("speed");
        return (int)f;
    }
    snprintf(text, sizeof text, "\"%s\", %s, iteration %d of %d, %ux%u, %zu parameters", run.name,
             run.state, run.iteration, run.target, run.network.image_size, run.network.image_size,
             run.parameters);
    line(FINE, "run", text, NULL);
    return (int)worst(f, check_work(s, o, &run));
}
