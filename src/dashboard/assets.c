/*
 * assets.c - the files of the page, compiled in
 *
 * The assembler reads them (.incbin) from the folders in the Makefile: the page's own files,
 * Chart.js from the Debian package libjs-chart.js, the documentation (docs/render.pl lists it), and
 * packed copies of all of them.
 */
#include "assets.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EMBED(symbol, path)                                                                        \
    __asm__(".section .rodata\n.global " #symbol ", " #symbol "_end\n" #symbol                     \
            ":\n.incbin \"" path "\"\n" #symbol "_end:\n.byte 0\n.previous\n");                    \
    extern const char symbol[], symbol##_end[]
#define FILE_OF_PAGE(symbol, name)                                                                 \
    EMBED(symbol, PAGE_FOLDER "/" name);                                                           \
    EMBED(symbol##_packed, PAGE_FOLDER "/" name ".gz")

FILE_OF_PAGE(page_index, "index.html");
FILE_OF_PAGE(page_style, "style.css");
FILE_OF_PAGE(page_icon, "icon.svg");
FILE_OF_PAGE(page_chart, "chart.js");
FILE_OF_PAGE(page_app, "app.js");
FILE_OF_PAGE(page_text, "text.js");
FILE_OF_PAGE(page_feed, "feed.js");
FILE_OF_PAGE(page_film, "film.js");
FILE_OF_PAGE(page_tiles, "tiles.js");
FILE_OF_PAGE(page_curves, "curves.js");
FILE_OF_PAGE(page_class, "class.js");
FILE_OF_PAGE(page_status, "status.js");
FILE_OF_PAGE(page_expected, "expected.js");
FILE_OF_PAGE(page_help, "help.js");
FILE_OF_PAGE(page_me, "me.js");

#define DOC(number, name, type) FILE_OF_PAGE(page_doc_##number, name);
#include DOCS_LIST
#undef DOC

#define ENTRY(symbol, name, type)                                                                  \
    { name, type, symbol, symbol##_end, symbol##_packed, symbol##_packed_end, "" }
#define SCRIPT "text/javascript; charset=utf-8"

static asset files[] = {
#define DOC(number, name, type) ENTRY(page_doc_##number, name, type),
#include DOCS_LIST
    ENTRY(page_index, "index.html", "text/html; charset=utf-8"),
    ENTRY(page_style, "style.css", "text/css; charset=utf-8"),
    ENTRY(page_icon, "icon.svg", "image/svg+xml"),
    ENTRY(page_chart, "chart.js", SCRIPT),
    ENTRY(page_app, "app.js", SCRIPT),
    ENTRY(page_text, "text.js", SCRIPT),
    ENTRY(page_feed, "feed.js", SCRIPT),
    ENTRY(page_film, "film.js", SCRIPT),
    ENTRY(page_tiles, "tiles.js", SCRIPT),
    ENTRY(page_curves, "curves.js", SCRIPT),
    ENTRY(page_class, "class.js", SCRIPT),
    ENTRY(page_status, "status.js", SCRIPT),
    ENTRY(page_expected, "expected.js", SCRIPT),
    ENTRY(page_help, "help.js", SCRIPT),
    ENTRY(page_me, "me.js", SCRIPT)};
static pthread_once_t tagged = PTHREAD_ONCE_INIT;

void assets_etag(char etag[24], const char *data, size_t size) {
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)data[i]) * UINT64_C(1099511628211);
    snprintf(etag, 24, "\"%016" PRIx64 "\"", hash);
}

static void tag_all(void) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assets_etag(files[i].etag, files[i].data, (size_t)(files[i].end - files[i].data));
}

const asset *assets_find(const char *name) {
    pthread_once(&tagged, tag_all);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}
