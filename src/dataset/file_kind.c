/*
 * file_kind.c - the kind of a file, by its first bytes
 */
#define _POSIX_C_SOURCE 200809L

#include "file_kind.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define UNPACK(how) "Unpack it (" how ") and give the folder that comes out."
#define AGAIN "Download it again."
#define ONE_IMAGE "Give the folder or the zip archive that holds all the images."
#define OTHER "Give a zip archive, a folder of JPEG or PNG files, or an IDX file."

/* Kinds with a signature at a fixed place. The first match counts. */
static const struct {
    size_t at, length;
    const char *bytes;
    file_kind kind;
} signatures[] = {
    {0, 6, "Rar!\x1a\x07", {"a RAR archive", UNPACK("unrar x, or 7z x")}},
    {0, 6, "7z\xbc\xaf\x27\x1c", {"a 7-Zip archive", UNPACK("7z x")}},
    {257, 5, "ustar", {"a tar archive", UNPACK("tar xf")}},
    {0,
     2,
     "\x1f\x8b",
     {"a file packed with gzip", "Unpack it (gunzip, or tar xzf) and give what comes out."}},
    {0,
     3,
     "BZh",
     {"a file packed with bzip2", "Unpack it (bunzip2, or tar xjf) and give what comes out."}},
    {0,
     6,
     "\xfd"
     "7zXZ\0",
     {"a file packed with xz", "Unpack it (unxz, or tar xJf) and give what comes out."}},
    {0,
     4,
     "\x28\xb5\x2f\xfd",
     {"a file packed with Zstandard", "Unpack it (unzstd) and give what comes out."}},
    {0, 2, "PK", {"a zip archive", UNPACK("unzip")}},
    {0, 3, "\xff\xd8\xff", {"a single JPEG image", ONE_IMAGE}},
    {0, 8, "\x89PNG\r\n\x1a\n", {"a single PNG image", ONE_IMAGE}},
    {0, 4, "GIF8", {"a GIF image", "Save the images as JPEG or PNG."}},
    {8, 4, "WEBP", {"a WebP image", "Save the images as JPEG or PNG."}},
    {4, 8, "ftypheic", {"a HEIC image", "Save the images as JPEG or PNG."}},
    {4, 8, "ftypavif", {"an AVIF image", "Save the images as JPEG or PNG."}},
    {4, 4, "ftyp", {"a film", OTHER}},
    {0, 4, "II*\0", {"a TIFF image", "Save the images as JPEG or PNG."}},
    {0, 4, "MM\0*", {"a TIFF image", "Save the images as JPEG or PNG."}},
    {0,
     4,
     "\0\5\x16\7",
     {"a macOS file of attributes (AppleDouble)", "Remove it; the image is in another file."}},
    {0, 5, "%PDF-", {"a PDF document", OTHER}},
    {0, 8, "\x89HDF\r\n\x1a\n", {"an HDF5 file", OTHER}},
    {0, 6, "\x93NUMPY", {"a NumPy array", OTHER}},
    {0, 4, "PAR1", {"a Parquet file", OTHER}},
    {0,
     24,
     "version https://git-lfs.",
     {"a pointer of Git LFS, not the file itself",
      "Run git lfs pull in that repository to get the file."}},
    {0,
     11,
     "d8:announce",
     {"a torrent", "Open it with a BitTorrent program, which downloads the file."}},
    {0,
     4,
     "\x7f"
     "ELF",
     {"a program", OTHER}},
    {0, 2, "BM", {"a BMP image", "Save the images as JPEG or PNG."}},
};

/* Compares the beginning with a text in small letters, in any case. */
static bool begins(const unsigned char *head, size_t size, const char *text) {
    return size >= strlen(text) && strncasecmp((const char *)head, text, strlen(text)) == 0;
}

/* Tells whether there are only zeros. */
static bool is_zero(const unsigned char *head, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (head[i] != 0)
            return false;
    return true;
}

/* Tells whether all bytes are characters of a text; beyond ASCII any byte may be one. */
static bool is_text(const unsigned char *head, size_t size) {
    for (size_t i = 0; i < size; i++)
        if ((head[i] < ' ' && !isspace(head[i])) || head[i] == 127)
            return false;
    return true;
}

/* Finds out what kind of text it is. */
static file_kind text_kind(const unsigned char *head, size_t size) {
    size_t skip = size >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    while (skip < size && isspace(head[skip]))
        skip++;
    head += skip;
    size -= skip;
    if (begins(head, size, "<!doctype html") || begins(head, size, "<html") ||
        begins(head, size, "<head") || begins(head, size, "<!--") ||
        begins(head, size, "<script") || begins(head, size, "<body"))
        return (file_kind){
            "a web page (HTML)",
            "Download the file itself again: this is a page of the download site, "
            "which asks for something or says why it gives nothing. Read it in a browser."};
    if (begins(head, size, "<?xml") || begins(head, size, "<error"))
        return (file_kind){"a message from a download site (XML)",
                           AGAIN " A text editor shows what the site says."};
    if (begins(head, size, "{") || begins(head, size, "["))
        return (file_kind){"a text in JSON", AGAIN " A text editor shows what it says."};
    return (file_kind){"a text", OTHER};
}

file_kind file_kind_of(const unsigned char *head, size_t size) {
    if (size == 0)
        return (file_kind){"empty", AGAIN};
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
        if (size >= signatures[i].at + signatures[i].length &&
            memcmp(head + signatures[i].at, signatures[i].bytes, signatures[i].length) == 0)
            return signatures[i].kind;
    if (is_zero(head, size))
        return (file_kind){"a file of zeros, probably an unfinished download", AGAIN};
    return is_text(head, size) ? text_kind(head, size)
                               : (file_kind){"a file of an unknown kind", OTHER};
}

void file_size_text(uint64_t size, char *text, size_t text_size) {
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    double value = (double)size / 1000;
    size_t unit = 0;

    if (size < 1000) {
        snprintf(text, text_size, "%" PRIu64 " byte%s", size, size == 1 ? "" : "s");
        return;
    }
    for (; value >= 999.5 && unit < 3; unit++)
        value /= 1000;
    snprintf(text, text_size, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}
