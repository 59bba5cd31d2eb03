/*
 * check.c - gan_worker --check
 */
#include "check.h"
#include "display.h"
#include "stop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints one line of the report; what is not fine comes with its remedy. */
static bool line(bool fine, const char *what, const char *found, const char *remedy) {
    display_say("%-10s %-6s %s", what, fine ? "ok" : "NOT OK", found);
    if (!fine && remedy)
        display_say("%-17s %s", "", remedy);
    return fine;
}

static void report(void *context, const char *message) {
    (void)context;
    display_warn("%s", message);
}

dataset *check_open_dataset(const options *o) {
    char error[1024];
    dataset *data = dataset_open(o->data, o->cache_mb << 20, report, NULL, error, sizeof error);

    if (!data)
        display_warn("%s", error);
    return data;
}

/* Tries the connection and the login. */
static bool check_server(server *s) {
    char text[512], role[128];
    bool student = false;

    if (server_connect(s) != SERVER_OK)
        return line(false, "connection", server_error(s),
                    "Check the connection string, and that you are on the right network.");
    server_describe(s, text, sizeof text);
    line(true, "connection", text, NULL);
    if (server_role(s, role, sizeof role, &student) != SERVER_OK)
        return line(false, "role", server_error(s), NULL);
    return line(student, "role", role,
                "This login is no student's: ask the instructor for a connection string from gan_enroll.");
}

/* Compares the dataset with the run's. */
static bool check_dataset(const dataset *data, const server_run *run) {
    unsigned char digest[DATASET_DIGEST_SIZE];
    char text[512];
    size_t used;

    dataset_digest(data, digest);
    used = (size_t)snprintf(text, sizeof text, "%s, digest ", dataset_describe(data));
    for (size_t i = 0; i < sizeof digest && used + 3 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%02x", digest[i]);
    if (!run || !run->dataset_known)
        return line(true, "dataset", text, NULL);
    return line(memcmp(digest, run->dataset_digest, sizeof digest) == 0 &&
                    run->dataset_images == dataset_count(data),
                "dataset", text,
                "The class uses other images: get the same archive as the others, all files, none renamed.");
}

/* Computes two minibatches of the run's network with fresh weights and measures the second. */
static bool check_speed(const options *o, const server_run *run, dataset *data) {
    dcgan_model model;
    size_t batch = o->batch ? o->batch : run->batch, bytes = 0;
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
        snprintf(text, sizeof text, "%.1f images/s with %d thread%s, minibatches of %zu",
                 (double)batch / seconds, o->threads, o->threads == 1 ? "" : "s", batch);
    } else
        snprintf(text, sizeof text, "out of memory, or no image could be read");
    free(weights);
    free(images);
    free(workspace);
    free(result.gradient);
    free(result.statistics);
    return line(fine && status == DCGAN_OK, "speed", text, "Try a smaller --batch.");
}

int check_run(server *s, const options *o) {
    server_run run;
    char text[256];
    bool have_run, fine = check_server(s);
    dataset *data = check_open_dataset(o);

    have_run = fine && server_run_config(s, o->run, &run) == SERVER_OK;
    if (have_run) {
        snprintf(text, sizeof text, "\"%s\", %s, iteration %d of %d, %ux%u, %zu parameters", run.name,
                 run.state, run.iteration, run.target, run.network.image_size, run.network.image_size,
                 run.parameters);
        line(true, "run", text, NULL);
    } else if (fine)
        line(false, "run", server_error(s), NULL);
    fine = have_run && fine;
    if (!data)
        fine = line(false, "dataset", o->data,
                    "Give --data a zip archive, a folder of JPEG or PNG files, or an IDX file.");
    else {
        fine = check_dataset(data, have_run ? &run : NULL) && fine;
        if (have_run && dataset_prepare(data, (int)run.network.image_size, (int)run.network.channels) == 0)
            fine = check_speed(o, &run, data) && fine;
    }
    dataset_close(data);
    return fine ? 0 : 1;
}
