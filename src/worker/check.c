/*
 * check.c - gan_worker --check
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "display.h"
#include "find_data.h"
#include "stop.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLOCK_SECONDS 60.0 /* a certificate that is new, or about to end, would be judged wrongly */
#define LINK_SECONDS 60.0  /* for an iteration's weights */

/* Prints one line of the report; what is not fine comes with its remedy. */
static bool line(bool fine, const char *what, const char *found, const char *remedy) {
    display_say("%-10s %-6s %s", what, fine ? "ok" : "NOT OK", found);
    if (!fine && remedy)
        display_say("%-17s %s", "", remedy);
    return fine;
}

/* Returns the seconds since 1970. */
static double now(void) {
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* Compares this machine's clock with the server's, which is the one that counts; before and after are this
 * machine's readings around the server's. */
static bool check_clock(double before, double theirs, double after) {
    double difference = (before + after) / 2 - theirs;
    char text[128], duration[32];

    display_duration(duration, sizeof duration, fabs(difference));
    if (fabs(difference) < 1)
        snprintf(text, sizeof text, "as the server's");
    else
        snprintf(text, sizeof text, "%s %s the server's", duration, difference > 0 ? "ahead of" : "behind");
    return line(fabs(difference) <= CLOCK_SECONDS, "clock", text,
                "Set the clock: sudo timedatectl set-ntp true. Leases go by the server's; certificates are "
                "judged by yours.");
}

/* Tries the connection and the login. */
static bool check_server(server *s) {
    char text[512];
    server_greeting greeting;
    double before;
    bool fine;

    if (server_connect(s) != SERVER_OK)
        return line(false, "connection", server_error(s),
                    "Check the connection string, and that you are on the right network.");
    server_describe(s, text, sizeof text);
    line(true, "connection", text, NULL);
    server_tls(s, text, sizeof text, &fine);
    fine = line(fine, "TLS", text,
                "Add sslmode=require to the connection string; if the server has no TLS, tell the instructor.");
    before = now();
    if (server_hello(s, &greeting) != SERVER_OK)
        return line(false, "role", server_error(s), NULL);
    fine = check_clock(before, greeting.clock, now()) && fine;
    return line(greeting.student, "role", greeting.login,
                "This login is no student's: ask the instructor for a connection string from gan_enroll.") &&
           fine;
}

/* Compares the dataset with the run's. */
static bool check_dataset(const dataset *data, const server_run *run) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    char text[512], difference[256];
    size_t used;

    dataset_digest(data, digest);
    used = (size_t)snprintf(text, sizeof text, "%s, digest ", dataset_describe(data));
    for (size_t i = 0; i < sizeof digest && used + 3 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%02x", digest[i]);
    if (!run || !run->dataset_known || !find_data_differs(data, run, difference, sizeof difference))
        return line(true, "dataset", text, NULL);
    return line(false, "dataset", difference,
                "Get the same images as the others: all of the class's archive, none added, none renamed.");
}

/* Computes two minibatches of the run's network with fresh weights and measures the second: images a second, as
 * --max-cpu lets them be. */
static bool check_speed(const options *o, const server_run *run, dataset *data, double *speed) {
    dcgan_model model;
    size_t batch = o->batch && !run->batch_fixed ? o->batch : run->batch, bytes = 0;
    dcgan_unit_result result = {0};
    double seconds = 0;
    char text[128];
    dcgan_status status = dcgan_model_init(&model, &run->network);

    if (status == DCGAN_OK)
        status = dcgan_unit_workspace(&model, batch, &bytes);
    real *weights = status == DCGAN_OK ? malloc(model.parameter_count * sizeof *weights) : NULL;
    uint8_t *images = status == DCGAN_OK ? malloc(batch * model.image_count) : NULL;
    void *workspace = malloc(bytes ? bytes : 1);
    result.gradient = status == DCGAN_OK ? malloc(model.parameter_count * sizeof(real)) : NULL;
    result.statistics = status == DCGAN_OK ? malloc(model.statistics_count * sizeof(real)) : NULL;
    bool fine = weights && images && workspace && result.gradient && result.statistics;
    for (size_t i = 0; fine && i < batch; i++)
        fine = dataset_image(data, i % dataset_count(data), images + i * model.image_count) == 0;
    if (fine) {
        dcgan_initialise(&model, run->seed, 0, model.parameter_count, weights);
        for (int pass = 0; pass < 2 && status == DCGAN_OK; pass++) {
            const dcgan_unit unit = {
                .weights = weights, .images = images, .count = batch, .batch = batch, .threads = o->threads};
            double start = stop_clock();
            status = dcgan_unit_gradients(&model, &unit, &result, workspace, bytes);
            seconds = stop_clock() - start;
        }
        *speed = (double)batch / seconds * o->max_cpu / 100;
        snprintf(text, sizeof text, "%.1f images/s with %d thread%s, minibatches of %zu", *speed, o->threads,
                 o->threads == 1 ? "" : "s", batch);
    } else
        snprintf(text, sizeof text, "out of memory, or no image could be read");
    free(weights);
    free(images);
    free(workspace);
    free(result.gradient);
    free(result.statistics);
    return line(fine && status == DCGAN_OK, "speed", text,
                run->batch_fixed ? "Close other programs." : "Try a smaller --batch.");
}

/* Downloads a shard of the weights and computes from it how long an iteration's take. */
static bool check_link(server *s, const server_run *run, double *seconds) {
    size_t count = shard_length(run->parameters, 0);
    float *values = malloc(count * sizeof *values);
    server_reply reply;
    double start = stop_clock();
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
        return line(false, "link", server_error(s), "Try again; if it stays so, ask the instructor.");
    if (!held)
        return line(true, "link", "not measured: the run went on meanwhile", NULL);
    *seconds = (stop_clock() - start) * (double)run->parameters / (double)count;
    snprintf(text, sizeof text, "%.1f MB of weights in about %.1f s", 4e-6 * (double)run->parameters, *seconds);
    return line(*seconds <= LINK_SECONDS, "link", text,
                "Ask the instructor for local steps or for upload_element and download_element => 'int8', or "
                "come by cable.");
}

/* Says what an hour is worth: images are credited when they are averaged, and a unit costs a download and about
 * as long an upload. */
static void show_credit(const server_run *run, double speed, double link) {
    double images = run->local_steps > 0 ? (double)(run->local_steps * run->batch) : 5.0 * (double)run->batch;
    double up = link * (double)blob_size_of(SHARD_COUNT, run->upload) / (double)blob_size(SHARD_COUNT);
    char text[160];

    snprintf(text, sizeof text, "about %.0f images an hour, as long as there is work (units of %.0f images%s)",
             3600 * images / (images / speed + link + up), images, run->local_steps > 0 ? "" : ", say");
    line(true, "credit", text, NULL);
}

/* Tries what needs the run: the link, the dataset, the speed. */
static bool check_work(server *s, const options *o, const server_run *run, dataset *data) {
    double speed = 0, link;
    bool fine = check_link(s, run, &link);

    fine = check_dataset(data, run) && fine;
    if (dataset_prepare(data, (int)run->network.image_size, (int)run->network.channels) != 0 ||
        !check_speed(o, run, data, &speed))
        return false;
    show_credit(run, speed, link);
    return fine;
}

int check_run(server *s, const options *o) {
    server_run run;
    char text[256];
    bool connected, have_run, fine = check_server(s);
    dataset *data;

    connected = server_connected(s);
    have_run = connected && server_run_config(s, o->run, &run) == SERVER_OK;
    if (have_run) {
        snprintf(text, sizeof text, "\"%s\", %s, iteration %d of %d, %ux%u, %zu parameters", run.name,
                 run.state, run.iteration, run.target, run.network.image_size, run.network.image_size,
                 run.parameters);
        line(true, "run", text, NULL);
    } else if (connected)
        line(false, "run", server_error(s), NULL);
    fine = have_run && fine;
    data = find_data(o, have_run ? &run : NULL);
    if (data == NULL)
        fine = line(false, "dataset", o->data != NULL ? o->data : "not found",
                    "Give --data a zip archive, a folder of JPEG or PNG files, or an IDX file.");
    else if (have_run)
        fine = check_work(s, o, &run, data) && fine;
    else
        fine = check_dataset(data, NULL) && fine;
    dataset_close(data);
    return fine ? 0 : 1;
}
