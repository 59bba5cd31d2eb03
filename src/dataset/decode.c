/*
 * decode.c - JPEG and PNG from memory to 8-bit grey or colour. Both libraries report errors by a
 * long jump; it never leaves this file.
 */
#include "image.h"
#include "file_kind.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>
#include <png.h>

/* A progressive file can repeat its scans to burn hours; honest files have about ten. */
#define JPEG_SCANS_MAX 100

#define MESSAGE_SIZE 200 /* JMSG_LENGTH_MAX, which libjpeg needs */

int image_allocate(image *made, size_t width, size_t height, size_t channels, char *error,
                   size_t error_size) {
    size_t bytes;

    *made = (image){0};
    if (width == 0 || height == 0 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        width * height > IMAGE_PIXELS_MAX) {
        snprintf(error, error_size,
                 "its size of %zux%zu pixels is out of range: at most %d a side and %zu in all",
                 width, height, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX);
        return IMAGE_BROKEN;
    }
    if (!size_multiply(width * height, channels, &bytes) ||
        (made->pixels = malloc(bytes)) == NULL) {
        snprintf(error, error_size, "not enough memory for %zux%zu pixels", width, height);
        return IMAGE_FAILED;
    }
    made->width = width;
    made->height = height;
    made->channels = channels;
    return IMAGE_OK;
}

void image_free(image *gone) {
    free(gone->pixels);
    *gone = (image){0};
}

/* ---- JPEG ---- */

typedef struct jpeg_reader {
    struct jpeg_error_mgr errors; /* first, because libjpeg returns its address */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct info;
    jmp_buf jump;
    image *decoded;
    char *error;
    size_t error_size;
    int outcome;
} jpeg_reader;

/* Leaves libjpeg with its message as the error. */
static void jpeg_fail(j_common_ptr info) {
    jpeg_reader *reader = (jpeg_reader *)info->err;
    char message[MESSAGE_SIZE];

    _Static_assert(MESSAGE_SIZE >= JMSG_LENGTH_MAX, "room for libjpeg's messages");
    info->err->format_message(info, message);
    snprintf(reader->error, reader->error_size, "%s", message);
    reader->outcome = info->err->msg_code == JERR_OUT_OF_MEMORY ? IMAGE_FAILED : IMAGE_BROKEN;
    longjmp(reader->jump, 1);
}

/* Treats warnings about missing or invented pixels as errors and ignores the others. */
static void jpeg_warn(j_common_ptr info, int level) {
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
        jpeg_fail(info);
        break;
    default:
        break;
    }
}

/* Leaves libjpeg with a text of our own. */
static void jpeg_refuse(jpeg_reader *reader, const char *message) {
    snprintf(reader->error, reader->error_size, "%s", message);
    reader->outcome = IMAGE_BROKEN;
    longjmp(reader->jump, 1);
}

/* Stops files with an absurd number of scans. */
static void jpeg_watch(j_common_ptr info) {
    if (((j_decompress_ptr)info)->input_scan_number > JPEG_SCANS_MAX)
        jpeg_refuse((jpeg_reader *)info->err, "it has too many progressive scans");
}

/* Reads header and lines into newly allocated pixels; errors jump. */
static void jpeg_read_all(jpeg_reader *reader, const unsigned char *bytes, size_t size) {
    struct jpeg_decompress_struct *info = &reader->info;

    jpeg_mem_src(info, bytes, (unsigned long)size);
    jpeg_read_header(info, TRUE);
    if (info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK)
        jpeg_refuse(reader, "it is a CMYK JPEG; save it as RGB");
    info->out_color_space = info->jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_calc_output_dimensions(info);
    reader->outcome =
        image_allocate(reader->decoded, info->output_width, info->output_height,
                       (size_t)info->output_components, reader->error, reader->error_size);
    if (reader->outcome != IMAGE_OK)
        longjmp(reader->jump, 1);
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        size_t stride = reader->decoded->width * reader->decoded->channels;
        JSAMPROW row = reader->decoded->pixels + info->output_scanline * stride;

        jpeg_read_scanlines(info, &row, 1);
    }
    jpeg_finish_decompress(info);
}

/* Runs jpeg_read_all() and catches its jumps; the reader lives in the caller, so that it survives
 * them. */
static void jpeg_guard(jpeg_reader *reader, const unsigned char *bytes, size_t size) {
    if (setjmp(reader->jump) == 0) {
        jpeg_create_decompress(&reader->info);
        reader->info.progress = &reader->progress;
        jpeg_read_all(reader, bytes, size);
    }
}

/* Decodes a JPEG file; returns the same values as image_decode(). */
static int decode_jpeg(const unsigned char *bytes, size_t size, image *decoded, char *error,
                       size_t error_size) {
    jpeg_reader reader = {
        .decoded = decoded, .error = error, .error_size = error_size, .outcome = IMAGE_OK};

    reader.info.err = jpeg_std_error(&reader.errors);
    reader.errors.error_exit = jpeg_fail;
    reader.errors.emit_message = jpeg_warn;
    reader.progress.progress_monitor = jpeg_watch;
    jpeg_guard(&reader, bytes, size);
    jpeg_destroy_decompress(&reader.info);
    return reader.outcome;
}

/* ---- PNG ---- */

typedef struct png_reader {
    png_structp png;
    png_infop info;
    const unsigned char *bytes;
    size_t left;
    image *decoded;
    char *error;
    size_t error_size;
    int outcome;
} png_reader;

/* Leaves libpng with its message as the error. */
static void png_fail(png_structp png, png_const_charp message) {
    png_reader *reader = png_get_error_ptr(png);

    if (reader->outcome == IMAGE_OK) {
        reader->outcome = IMAGE_BROKEN;
        snprintf(reader->error, reader->error_size, "PNG: %s", message);
    }
    png_longjmp(png, 1);
}

/* Ignores warnings, which concern colour profiles and comments. */
static void png_warn(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

/* Allocates for libpng, and remembers when memory was short. */
static png_voidp png_allocate(png_structp png, png_alloc_size_t size) {
    png_reader *reader = png_get_mem_ptr(png);
    void *memory = malloc(size);

    if (memory == NULL) {
        reader->outcome = IMAGE_FAILED;
        snprintf(reader->error, reader->error_size, "not enough memory to decode a PNG file");
    }
    return memory;
}

/* Frees for libpng. */
static void png_release(png_structp png, png_voidp memory) {
    (void)png;
    free(memory);
}

/* Gives libpng the next bytes of the file. */
static void png_feed(png_structp png, png_bytep target, size_t size) {
    png_reader *reader = png_get_io_ptr(png);

    if (size > reader->left)
        png_error(png, "premature end of file");
    memcpy(target, reader->bytes, size);
    reader->bytes += size;
    reader->left -= size;
}

/* Asks for 8-bit grey or colour without alpha, whatever the file has; samples of 16 bits lose the
 * lower 8. */
static void png_ask(png_reader *reader) {
    png_set_strip_16(reader->png);
    png_set_expand(reader->png);
    png_set_strip_alpha(reader->png);
}

/* Reads header and rows into newly allocated pixels; errors jump. */
static void png_read_all(png_reader *reader) {
    png_structp png = reader->png;
    int passes;

    png_set_read_fn(png, reader, png_feed);
    png_read_info(png, reader->info);
    png_ask(reader);
    passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    reader->outcome =
        image_allocate(reader->decoded, png_get_image_width(png, reader->info),
                       png_get_image_height(png, reader->info), png_get_channels(png, reader->info),
                       reader->error, reader->error_size);
    if (reader->outcome != IMAGE_OK)
        png_longjmp(png, 1);
    if (png_get_rowbytes(png, reader->info) != reader->decoded->width * reader->decoded->channels)
        png_error(png, "unexpected length of a row");
    while (passes-- > 0)
        for (size_t row = 0; row < reader->decoded->height; row++)
            png_read_row(png,
                         reader->decoded->pixels +
                             row * reader->decoded->width * reader->decoded->channels,
                         NULL);
    png_read_end(png, NULL);
}

/* Runs png_read_all() and catches its jumps. */
static void png_guard(png_reader *reader) {
    if (setjmp(png_jmpbuf(reader->png)) == 0)
        png_read_all(reader);
}

/* Decodes a PNG file; returns the same values as image_decode(). */
static int decode_png(const unsigned char *bytes, size_t size, image *decoded, char *error,
                      size_t error_size) {
    png_reader reader = {.bytes = bytes,
                         .left = size,
                         .decoded = decoded,
                         .error = error,
                         .error_size = error_size,
                         .outcome = IMAGE_OK};

    reader.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &reader, png_fail, png_warn,
                                          &reader, png_allocate, png_release);
    if (reader.png != NULL)
        reader.info = png_create_info_struct(reader.png);
    if (reader.info == NULL) {
        png_destroy_read_struct(&reader.png, NULL, NULL);
        snprintf(error, error_size,
                 "libpng could not start: not enough memory, or not the libpng of the headers");
        return IMAGE_FAILED;
    }
    png_guard(&reader);
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    return reader.outcome;
}

/* ---- both ---- */

int image_decode(const unsigned char *bytes, size_t size, image *decoded, char *error,
                 size_t error_size) {
    static const unsigned char png_head[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const unsigned char jpeg_head[] = {0xff, 0xd8, 0xff};
    int outcome = IMAGE_BROKEN;

    *decoded = (image){0};
    if (size >= sizeof png_head && memcmp(bytes, png_head, sizeof png_head) == 0)
        outcome = decode_png(bytes, size, decoded, error, error_size);
    else if (size >= sizeof jpeg_head && memcmp(bytes, jpeg_head, sizeof jpeg_head) == 0)
        outcome = decode_jpeg(bytes, size, decoded, error, error_size);
    else
        snprintf(error, error_size, "it is %s, neither a JPEG nor a PNG file",
                 file_kind_of(bytes, size).what);
    if (outcome != IMAGE_OK)
        image_free(decoded);
    return outcome;
}
