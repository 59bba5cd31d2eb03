/*
 * route.c - reads the path of a request
 */
#include "route.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

/* Reads decimal digits; returns what follows them, or NULL. */
static const char *digits(const char *text, int *number) {
    const char *c = text;
    long value = 0;

    for (; *c >= '0' && *c <= '9'; c++) {
        value = 10 * value + (*c - '0');
        if (value > INT_MAX)
            return NULL;
    }
    if (c == text || (*text == '0' && c > text + 1))
        return NULL;
    *number = (int)value;
    return c;
}

bool route_number(const char *text, int *number) {
    const char *end = digits(text, number);

    return end != NULL && *end == '\0';
}

route route_read(const char *path) {
    static const char sheet[] = "/sheet/";
    route r = {ROUTE_NONE, NULL, 0, 0};
    const char *end;

    if (strcmp(path, "/") == 0)
        r.kind = ROUTE_PAGE;
    else if (strcmp(path, "/events") == 0)
        r.kind = ROUTE_EVENTS;
    else if (strcmp(path, "/docs") == 0 || strcmp(path, "/docs/") == 0) {
        r.kind = ROUTE_ASSET;
        r.asset = path[5] == '/' ? "docs/index.html" : "docs/contents.html";
    } else if (strncmp(path, sheet, strlen(sheet)) == 0) {
        end = digits(path + strlen(sheet), &r.run);
        if (end != NULL && *end == '/' && (end = digits(end + 1, &r.iteration)) != NULL &&
            strcmp(end, ".png") == 0)
            r.kind = ROUTE_SHEET;
    } else if (path[0] == '/') {
        r.kind = ROUTE_ASSET;
        r.asset = path + 1;
    }
    return r;
}
