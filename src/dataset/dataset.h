/*
 * dataset.h - the images a student trains on: a zip archive, a folder or an IDX file, read in the
 * order of docs/format.md, section 3, which also says what the digest is and how an image becomes
 * numbers.
 *
 * Nothing is extracted, nothing is written to disk, nothing is printed. One dataset may be used by
 * one thread at a time.
 */
#ifndef GANN_DATASET_H
#define GANN_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATASET_DIGEST_SIZE 32

typedef struct dataset dataset;

/* Receives one line on a broken image, which it names, or on why dataset_image() failed. May be
 * NULL. */
typedef void (*dataset_report)(void *context, const char *message);

/*
 * Opens a zip archive, folder or IDX file, lists its images and computes the digest. An archive is
 * not unpacked: its central directory is enough. A folder's files are read once. At most
 * cache_bytes of prepared pixels will be kept in memory. Returns NULL with one line in error, which
 * says what is wrong and what to do.
 */
dataset *dataset_open(const char *path, size_t cache_bytes, dataset_report report, void *context,
                      char *error, size_t error_size);

/* Returns the number of images, at least 1, broken ones included. */
size_t dataset_count(const dataset *set);

/* Copies the 32 bytes of the digest. */
void dataset_digest(const dataset *set, unsigned char digest[DATASET_DIGEST_SIZE]);

/*
 * Tells whether these are the images of a class, by its number of images and its digest. If they
 * are the same images listed in another way (sorted into folders, with names in another encoding,
 * or as version 0.1.0 listed them), the dataset takes over the class's list; prepare it afterwards.
 */
bool dataset_match(dataset *set, uint64_t images, const unsigned char digest[DATASET_DIGEST_SIZE]);

/* Returns for example "8000 images in zip archive img_align_celeba.zip"; it lives as long as the
 * dataset. */
const char *dataset_describe(const dataset *set);

/*
 * Sets the form of prepared images: image_size x image_size pixels of 1 or 3 channels. Empties the
 * cache. May be called again. Returns -1 for sizes out of range or when memory is short.
 */
int dataset_prepare(dataset *set, int image_size, int channels);

/*
 * Writes the prepared image number index, image_size * image_size * channels bytes in the order
 * [row][column][channel]. A broken image is reported once and replaced by the next one that can be
 * decoded; an image that an archive holds damaged counts as broken. Returns -1 if no image can be
 * decoded, and also if this machine can't read the image that the class has: a file is gone or has
 * changed since the dataset was opened, the disk can't be read, memory is short, index is out of
 * range or dataset_prepare() was not called. All of these are reported.
 */
int dataset_image(dataset *set, size_t index, unsigned char *pixels);

/* Frees everything; NULL is allowed. */
void dataset_close(dataset *set);

#endif
