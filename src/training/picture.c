/*
 * picture.c - a sheet of generated images as a PNG file
 */
#include "picture.h"
#include "files.h"
#include "../formats/sheet/sheet.h"

#include <stdio.h>
#include <stdlib.h>

/* Draws the images, a few at a time. */
static dcgan_status draw(unsigned char *samples, const dcgan_model *model, const real *weights,
                         const real *running, dcgan_device *device, uint64_t seed, size_t n) {
    size_t bytes = 0;
    dcgan_status status = dcgan_generate_workspace(model, device, PICTURE_BATCH, &bytes);
    real *images = malloc(PICTURE_BATCH * model->image_count * sizeof *images);
    void *workspace = status == DCGAN_OK ? malloc(bytes) : NULL;

    const dcgan_generator generator = {.model = model,
                                       .weights = weights,
                                       .running_statistics = running,
                                       .device = device,
                                       .workspace = workspace,
                                       .workspace_bytes = bytes};

    if (status == DCGAN_OK && (images == NULL || workspace == NULL))
        status = DCGAN_TOO_LARGE;
    for (size_t first = 0; status == DCGAN_OK && first < n; first += PICTURE_BATCH) {
        size_t count = n - first < PICTURE_BATCH ? n - first : PICTURE_BATCH;

        status = dcgan_generate(&generator, seed, (uint32_t)first, count, images);
        for (size_t i = 0; status == DCGAN_OK && i < count; i++)
            sheet_place(samples, sheet_columns(n), first + i, images + i * model->image_count,
                        &model->config);
    }
    free(images);
    free(workspace);
    return status;
}

int picture_write(const char *path, const dcgan_model *model, const real *weights,
                  const real *running, dcgan_device *device, uint64_t seed, size_t n, char *error,
                  size_t error_size) {
    size_t columns = sheet_columns(n), channels = model->config.channels,
           width = columns * model->config.image_size;
    size_t height = (n + columns - 1) / columns * model->config.image_size,
           capacity = png_capacity(width, height, channels), size;
    unsigned char *samples = calloc(width * height, channels), *png = malloc(capacity);
    dcgan_status status = DCGAN_TOO_LARGE;
    int result = -1;

    if (samples != NULL && png != NULL)
        status = draw(samples, model, weights, running, device, seed, n);
    if (status != DCGAN_OK)
        snprintf(error, error_size, "no picture can be drawn: %s", dcgan_status_text(status));
    else if (png_encode(png, capacity, &size, samples, width, height, channels) != 0)
        snprintf(error, error_size, "no picture can be drawn: out of memory");
    else
        result = file_write(path, png, size, error, error_size);
    free(samples);
    free(png);
    return result;
}
