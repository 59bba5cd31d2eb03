/*
 * sheet.c - a sheet of images as one PNG, in memory
 *
 * libpng reports errors by longjmp, PostgreSQL by siglongjmp. So between setjmp and the end of
 * libpng's work no function of PostgreSQL may be called that can fail: memory for the worst case is
 * allocated before.
 */
#include "sheet.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

size_t sheet_columns(size_t n) {
    size_t columns = 1;

    while (columns * columns < n)
        columns++;
    return columns;
}

void sheet_place(unsigned char *samples, size_t columns, size_t index, const real *image,
                 const dcgan_config *config) {
    size_t size = config->image_size, row = size * config->channels, width = columns * row;
    unsigned char *corner = samples + index / columns * size * width + index % columns * row;

    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < row; x++)
            corner[y * width + x] = dcgan_to_sample(image[y * row + x]);
}

/* A buffer of fixed capacity; overflow is an error of libpng. */
typedef struct sink {
    unsigned char *bytes;
    size_t size, capacity;
} sink;

static void write_bytes(png_structp png, png_bytep bytes, png_size_t size) {
    sink *to = png_get_io_ptr(png);

    if (size > to->capacity - to->size)
        png_error(png, "the buffer is full");
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void flush_nothing(png_structp png) {
    (void)png;
}

static void ignore_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static void jump_on_error(png_structp png, png_const_charp message) {
    (void)message;
    png_longjmp(png, 1);
}

size_t png_capacity(size_t width, size_t height, size_t channels) {
    size_t raw = (width * channels + 1) * height;
    return raw + raw / 100 + 65536; /* deflate's worst case, chunk headers */
}

int png_encode(unsigned char *png_bytes, size_t capacity, size_t *size,
               const unsigned char *samples, size_t width, size_t height, size_t channels) {
    sink to = {png_bytes, 0, capacity};
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, jump_on_error, ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;

    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return -1;
    }
    png_set_write_fn(png, &to, write_bytes, flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++)
        png_write_row(png, samples + y * width * channels);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    *size = to.size;
    return 0;
}
