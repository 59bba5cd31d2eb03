/*
 * swd.h - the sliced Wasserstein distance between two sets of images (Karras et al. 2018,
 * "Progressive growing of GANs", section 5; Rabin et al. 2011), which needs no downloaded network
 *
 * A set is described by a summary: for each level of its Laplacian pyramid, patches of 7x7 pixels
 * are normalised by channel and projected on random directions; the values of each projection are
 * sorted and stored as the means of 256 groups of equal size (quantiles). The distance between two
 * summaries is the mean absolute difference of their quantiles. A summary of real images is made
 * where the images are: no image can be recovered from it.
 *
 * Knows nothing of databases, networks, files or terminals. It never prints, never exits, never
 * allocates. docs/format.md, section 11, says all of it in words.
 */
#ifndef SWD_H
#define SWD_H

#include <stddef.h>
#include <stdint.h>

#define SWD_PATCH 7         /* pixels, both ways */
#define SWD_PATCHES 64      /* of each image and level */
#define SWD_DIRECTIONS 128  /* of each level */
#define SWD_QUANTILES 256   /* of each direction */
#define SWD_LAST_SIZE 16    /* pixels of the last level */
#define SWD_MAX_LEVELS 4    /* at 128x128 */
#define SWD_MAX_IMAGES 2048 /* of a set */

typedef enum swd_status {
    SWD_OK,
    SWD_INVALID_ARGUMENT, /* sizes out of range, a null pointer */
    SWD_WORKSPACE,        /* the workspace is smaller than swd_workspace says */
    SWD_CANCELLED,        /* the progress function asked to stop */
    SWD_NOT_FINITE,       /* a summary holds NaN or infinity */
    SWD_NOT_SORTED,       /* quantiles of a direction decrease */
    SWD_IMPOSSIBLE /* quantiles that no normalised patches have: their mean square is too large */
} swd_status;

/* A set of images: count x size x size x channels samples of 8 bits, NHWC. */
typedef struct swd_set {
    const uint8_t *images;
    size_t count;    /* 1 … SWD_MAX_IMAGES */
    size_t size;     /* 32, 64 or 128 */
    size_t channels; /* 1 or 3 */
} swd_set;

/* Called now and then; anything but 0 cancels. */
typedef int (*swd_progress)(void *context);

const char *swd_status_text(swd_status status);

/* Counts the levels of a pyramid (size, size / 2 … 16) and the numbers of a summary
 * [level][direction][quantile]. */
size_t swd_levels(size_t size);
size_t swd_summary_count(size_t size);

/* Chooses the image at place k (0, 1, 2, …) of a dataset's sample; images: of the dataset. */
uint64_t swd_sample(uint64_t seed, uint64_t images, uint64_t k);

/* Computes the bytes of workspace for a summary of count images: about 40 MB for 512 in colour. */
swd_status swd_workspace(size_t count, size_t channels, size_t *bytes);

/* Makes the summary[swd_summary_count(size)] of a set; seed (a run's) chooses patches and
 * directions. progress may be null. */
swd_status swd_summarise(const swd_set *set, uint64_t seed, float *summary, void *workspace,
                         size_t bytes, swd_progress progress, void *context);

/* Tells whether a summary from a student is a possible one. */
swd_status swd_check(const float *summary, size_t size, size_t channels);

/* Computes the distance of each level, times 1000 as is usual, and returns their mean. */
double swd_distance(const float *a, const float *b, size_t size, double distances[SWD_MAX_LEVELS]);

/* Returns the largest difference of two corresponding quantiles: summaries of the same images
 * differ by rounding only. */
double swd_difference(const float *a, const float *b, size_t size);

#endif
