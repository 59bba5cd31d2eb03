/*
 * main.c - gan_dashboard: shows the class's training in the browser
 */
#include "../common/stop.h"
#include "feed.h"
#include "http.h"
#include "command_line.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STATUS_MISTAKE 2 /* another try won't help */

static void announce(void *context) {
    http_announce(context);
}

/* Serves until a signal comes. */
static int serve(const options *o, hub *pages, sheets *pictures, int bell) {
    http *server = http_start(o, pages, pictures);
    int status;

    if (server == NULL)
        return STATUS_MISTAKE;
    status = feed_run(o->connect, pages, pictures, bell, announce, server);
    hub_close(pages);
    sheets_fail(pictures, 1);
    http_stop(server);
    return status;
}

int main(int argc, char **argv) {
    options o;
    options_answer answer = options_read(&o, argc, argv);
    int bell, status = 1;
    hub *pages;
    sheets *pictures;

    if (answer != OPTIONS_GO) {
        options_free(&o);
        return answer == OPTIONS_DONE ? 0 : STATUS_MISTAKE;
    }
    bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pages = hub_new(http_sleep, http_wake, bell);
    pictures = sheets_new(o.cache_mb << 20, http_sleep, http_wake, bell);
    if (bell < 0 || pages == NULL || pictures == NULL || stop_install() != 0)
        fprintf(
            stderr,
            "gan_dashboard: not enough memory, or too many open files\nClose other programs.\n");
    else
        status = serve(&o, pages, pictures, bell);
    sheets_free(pictures);
    hub_free(pages);
    if (bell >= 0)
        close(bell);
    options_free(&o);
    return status;
}
