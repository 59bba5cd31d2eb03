/*
 * idx.c - images of an idx3-ubyte file, the format of MNIST and Fashion-MNIST, gzipped or not: a
 * magic number and the numbers of images, rows and columns, big-endian, then the grey pixels. It is
 * held in memory.
 */
#include "source.h"
#include "file_kind.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#define IDX_HEADER 16
#define IDX_PIXELS_MAX ((uint64_t)4 << 30)
#define CHUNK ((size_t)1 << 20)
#define GIVE_IMAGES "Give a file of images, such as train-images-idx3-ubyte.gz."

typedef struct idx {
    uint32_t count;
    uint32_t rows;
    uint32_t columns;
    size_t image_size; /* rows * columns */
    size_t size;       /* count * image_size */
    unsigned char *pixels;
} idx;

/* Recognises gzip's magic, and that of an IDX file of any type, for a better error later. */
static bool idx_recognise(bool folder, const unsigned char *head, size_t head_size) {
    bool gzipped = head_size >= 2 && head[0] == 0x1f && head[1] == 0x8b;
    bool plain =
        head_size >= 4 && head[0] == 0 && head[1] == 0 && head[2] >= 0x08 && head[2] <= 0x0e;

    return !folder && (gzipped || plain);
}

/* Returns a big-endian number. */
static uint32_t big_endian(const unsigned char *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Fills in the error for a file that ended early or can't be unpacked. */
static void idx_explain(gzFile file, const char *where, char *error, size_t error_size) {
    int code = Z_OK;
    const char *text = gzerror(file, &code);

    if (code == Z_ERRNO)
        text = strerror(errno);
    else if (code == Z_OK || code == Z_BUF_ERROR)
        text = "it ends early";
    snprintf(error, error_size, "%s can't be read: %s. Download the file again.", where, text);
}

/* Describes an unpacked file that doesn't begin as IDX files do. */
static void idx_explain_other(gzFile file, const unsigned char *header, char *error,
                              size_t error_size) {
    unsigned char head[FILE_KIND_HEAD];
    int more = gzread(file, head + IDX_HEADER, sizeof head - IDX_HEADER);
    file_kind found;

    memcpy(head, header, IDX_HEADER);
    found = file_kind_of(head, IDX_HEADER + (size_t)(more > 0 ? more : 0));
    snprintf(error, error_size, "it is packed by gzip and contains %s, not an IDX file. %s",
             found.what,
             strncmp(found.remedy, "Unpack", 6) == 0
                 ? "Unpack it (tar xzf, or gunzip) and give what comes out."
                 : found.remedy);
}

/* Checks magic and sizes of a header. Returns -1 with the error filled. */
static int idx_parse(idx *source, const unsigned char *header, char *error, size_t error_size) {
    uint32_t magic = big_endian(header);
    uint64_t total;

    source->count = big_endian(header + 4);
    source->rows = big_endian(header + 8);
    source->columns = big_endian(header + 12);
    if (magic == 0x00000801) {
        snprintf(error, error_size, "it is an IDX file of labels, not of images. " GIVE_IMAGES);
        return -1;
    }
    if (magic != 0x00000803) {
        snprintf(error, error_size,
                 "it is an IDX file that begins with %08" PRIx32
                 ", but those of grey images of 8 bits begin with "
                 "00000803. " GIVE_IMAGES,
                 magic);
        return -1;
    }
    if (source->rows == 0 || source->columns == 0 || source->rows > IMAGE_SIDE_MAX ||
        source->columns > IMAGE_SIDE_MAX ||
        (uint64_t)source->rows * source->columns > IMAGE_PIXELS_MAX) {
        snprintf(error, error_size,
                 "its header announces images of %" PRIu32 "x%" PRIu32
                 " pixels, but 1 to %d a side and %zu in all can be read. Download it again.",
                 source->columns, source->rows, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX);
        return -1;
    }
    total = (uint64_t)source->rows * source->columns * source->count;
    if (total > IDX_PIXELS_MAX || total > SIZE_MAX) {
        snprintf(error, error_size,
                 "its header announces %" PRIu64 " pixels, but at most %" PRIu64
                 " can be held. Give a smaller file.",
                 total, IDX_PIXELS_MAX);
        return -1;
    }
    source->image_size = (size_t)source->rows * source->columns;
    source->size = (size_t)total;
    return 0;
}

/* Makes room for twice as many pixels, so that a lying header costs no more than the file holds. */
static int idx_grow(idx *source, size_t *room) {
    size_t wanted = *room == 0 ? CHUNK : *room > source->size / 2 ? source->size : *room * 2;
    unsigned char *moved;

    if (wanted > source->size)
        wanted = source->size;
    moved = realloc(source->pixels, wanted);
    if (moved == NULL)
        return -1;
    source->pixels = moved;
    *room = wanted;
    return 0;
}

/* Reads the pixels, after which the file must end, and with it the checksum of gzip. Returns -1
 * with the error. */
static int idx_read_pixels(idx *source, gzFile file, char *error, size_t error_size) {
    unsigned char beyond;
    size_t room = 0;
    int code = Z_OK;
    int got;

    for (size_t done = 0; done < source->size; done += (size_t)got) {
        size_t part;

        if (done == room && idx_grow(source, &room) != 0) {
            snprintf(error, error_size,
                     "there is not enough memory for its %zu pixels. Close other programs.",
                     source->size);
            return -1;
        }
        part = room - done < CHUNK ? room - done : CHUNK;
        got = gzread(file, source->pixels + done, (unsigned)part);
        if (got <= 0) {
            idx_explain(file, "the pixels that its header promises", error, error_size);
            return -1;
        }
    }
    if (gzread(file, &beyond, 1) > 0) {
        snprintf(error, error_size,
                 "it is longer than the %" PRIu32
                 " images that its header announces. Download the file again.",
                 source->count);
        return -1;
    }
    gzerror(file, &code); /* for a truncated checksum zlib reports the end, with this code */
    if (code != Z_OK)
        idx_explain(file, "its end", error, error_size);
    return code == Z_OK ? 0 : -1;
}

/* Reads an open file. Returns -1 with the error filled. */
static int idx_read_file(idx *source, gzFile file, char *error, size_t error_size) {
    unsigned char header[IDX_HEADER];

    if (gzread(file, header, IDX_HEADER) != IDX_HEADER) {
        idx_explain(file, "the header of an IDX file", error, error_size);
        return -1;
    }
    if (header[0] != 0 || header[1] != 0) { /* a gzipped file may be anything */
        idx_explain_other(file, header, error, error_size);
        return -1;
    }
    if (idx_parse(source, header, error, error_size) != 0)
        return -1;
    return idx_read_pixels(source, file, error, error_size);
}

/* Lists the images by their numbers. Returns -1 when memory is short. */
static int idx_list(const idx *source, dataset_items *items) {
    for (uint32_t place = 0; place < source->count; place++) {
        char name[16];
        dataset_item item = {.name = name, .size = source->image_size, .place = place};

        snprintf(name, sizeof name, "%" PRIu32, place);
        item.crc = (uint32_t)crc32(0, source->pixels + place * source->image_size,
                                   (uInt)source->image_size);
        if (dataset_items_add(items, &item) != 0)
            return -1;
    }
    return 0;
}

/* Frees the source. */
static void idx_close(void *source) {
    free(((idx *)source)->pixels);
    free(source);
}

/* Reads the whole file; see dataset_kind. */
static void *idx_open(const char *path, dataset_items *items, char *error, size_t error_size) {
    idx *source = calloc(1, sizeof *source);
    gzFile file = source != NULL ? gzopen(path, "rb") : NULL;
    int outcome;

    if (file == NULL) {
        snprintf(error, error_size,
                 "it can't be opened: %s. Check the file, or copy it to another place.",
                 source != NULL ? strerror(errno) : "not enough memory");
        free(source);
        return NULL;
    }
    outcome = idx_read_file(source, file, error, error_size);
    gzclose_r(file);
    if (outcome == 0 && idx_list(source, items) != 0) {
        snprintf(error, error_size,
                 "there is not enough memory for its %" PRIu32 " images. Close other programs.",
                 source->count);
        outcome = -1;
    }
    if (outcome != 0) {
        idx_close(source);
        return NULL;
    }
    return source;
}

/* Copies the pixels of one image; see dataset_kind. */
static int idx_read(void *source, const dataset_item *item, unsigned char *bytes, char *error,
                    size_t error_size) {
    const idx *file = source;

    (void)error;
    (void)error_size;
    memcpy(bytes, file->pixels + (size_t)item->place * file->image_size, file->image_size);
    return IMAGE_OK;
}

/* Takes the pixels as a grey image; see dataset_kind. */
static int idx_decode(void *source, const unsigned char *bytes, size_t size, image *decoded,
                      char *error, size_t error_size) {
    const idx *file = source;
    int outcome = image_allocate(decoded, file->columns, file->rows, 1, error, error_size);

    if (outcome == IMAGE_OK)
        memcpy(decoded->pixels, bytes, size);
    return outcome;
}

const dataset_kind dataset_idx_kind = {.name = "IDX file",
                                       .recognise = idx_recognise,
                                       .open = idx_open,
                                       .read = idx_read,
                                       .decode = idx_decode,
                                       .close = idx_close};
