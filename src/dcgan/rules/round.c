/*
 * round.c - what several rules need: images by account, weights by images, sorting
 */
#include "rules.h"

#include <stdlib.h>
#include <string.h>

/* The mean: every image counts as much as any other. */
void dcgan_weigh_by_images(const dcgan_round *r) {
    double total = 0;

    for (size_t i = 0; i < r->units; i++)
        total += r->images[i];
    for (size_t i = 0; i < r->units; i++) {
        r->weight[i] = r->images[i] / total;
        r->scale[i] = 1;
    }
}

void dcgan_images_of_accounts(const dcgan_round *r, double *images) {
    memset(images, 0, r->accounts * sizeof *images);
    for (size_t i = 0; i < r->units; i++)
        images[r->account[i]] += r->images[i];
}

/* Every image of an account counts as much as any other of it. */
void dcgan_weigh_within_account(const dcgan_round *r) {
    dcgan_images_of_accounts(r, r->scratch);
    for (size_t i = 0; i < r->units; i++) {
        r->weight[i] = r->images[i] / r->scratch[r->account[i]];
        r->scale[i] = 1;
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void dcgan_sort(double *x, size_t count) {
    qsort(x, count, sizeof *x, compare);
}

double dcgan_median(double *x, size_t count) {
    dcgan_sort(x, count);
    return count % 2 ? x[count / 2] : 0.5 * x[count / 2 - 1] + 0.5 * x[count / 2];
}
