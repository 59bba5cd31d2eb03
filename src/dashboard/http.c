/*
 * http.c - the HTTP server, by libmicrohttpd: one thread for all connections
 */
#define _GNU_SOURCE

#include "http.h"
#include "access.h"
#include "assets.h"
#include "listen.h"
#include "route.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUIET_SECONDS 30u       /* an idle connection is closed, except one that sleeps */
#define HEADERS_MAX (16 * 1024) /* memory of a connection: request line and headers must fit */
#define BLOCK (16 * 1024)       /* of events, at a time */

struct http {
    struct MHD_Daemon *daemon;
    hub *pages;
    sheets *pictures;
    const char *token;
    bool private; /* for this machine's user alone: no token, and local addresses only */
    const options *o;
    listener at;
    /* names by which browsers may reach this program, besides localhost */
    const char *names[OPTIONS_NAMES_MAX + 1];
    size_t name_count;
};

/* The state of one request. */
typedef struct request {
    void *sheet; /* sheets_ask()'s */
} request;

void http_sleep(void *connection) {
    MHD_suspend_connection(connection);
}

void http_wake(void *connection) {
    MHD_resume_connection(connection);
}

/* Sends a response with the common headers. Only our own files may run or be loaded, and no page
 * may frame ours. */
static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status,
                                     struct MHD_Response *response, const char *type) {
    static const char *const all[][2] = {
        {"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "
                                    "img-src 'self'; connect-src 'self'; "
                                    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"}, /* the address may hold the token */
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"}};
    enum MHD_Result done;

    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        MHD_add_response_header(response, all[i][0], all[i][1]);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (MHD_get_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL) == NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    done = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return done;
}

/* Sends a line of text. */
static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
                                 const char *text) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);

    if (response != NULL && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (response != NULL && status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (response != NULL && status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "5");
    return send_response(connection, status, response, "text/plain; charset=utf-8");
}

/* Returns a header of the request, or "". */
static const char *header(struct MHD_Connection *connection, const char *name) {
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);

    return value != NULL ? value : "";
}

/* Tells whether the browser already has this version. */
static bool is_current(struct MHD_Connection *connection, const char *etag) {
    const char *known = header(connection, MHD_HTTP_HEADER_IF_NONE_MATCH);

    return strcmp(known, "*") == 0 || strstr(known, etag) != NULL;
}

/* Sends a file that the browser may keep, but must validate each time by its entity tag. */
static enum MHD_Result send_tagged(struct MHD_Connection *connection, struct MHD_Response *response,
                                   const char *etag, const char *type, unsigned status) {
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, etag);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "private, no-cache");
    return send_response(connection, status, response, type);
}

/* Sends a file of the page. */
static enum MHD_Result send_asset(struct MHD_Connection *connection, const char *name) {
    const asset *file = assets_find(name);
    bool packed = strstr(header(connection, MHD_HTTP_HEADER_ACCEPT_ENCODING), "gzip") != NULL,
         current;
    char etag[32];
    struct MHD_Response *response;

    if (file == NULL)
        return send_text(connection, MHD_HTTP_NOT_FOUND, "There is nothing here.\n");
    /* The packed file is another representation, so it has another tag (RFC 9110, 8.8.3). */
    snprintf(etag, sizeof etag, "%.17s%s\"", file->etag, packed ? "-gzip" : "");
    current = is_current(connection, etag);
    if (current)
        response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    else if (packed)
        response = MHD_create_response_from_buffer((size_t)(file->packed_end - file->packed),
                                                   (void *)file->packed, MHD_RESPMEM_PERSISTENT);
    else
        response = MHD_create_response_from_buffer((size_t)(file->end - file->data),
                                                   (void *)file->data, MHD_RESPMEM_PERSISTENT);
    if (response != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
        if (packed && !current)
            MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    }
    return send_tagged(connection, response, etag, file->type,
                       current ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK);
}

/* Gives libmicrohttpd the next bytes of a page's events. */
static ssize_t read_events(void *context, uint64_t position, char *to, size_t max) {
    long got = hub_read(context, to, max);

    (void)position;
    return got < 0 ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)got;
}

static void end_events(void *context) {
    hub_unsubscribe(context);
}

/* Opens a stream of events. */
static enum MHD_Result send_events(http *s, struct MHD_Connection *connection, bool head) {
    const char *wanted = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "run");
    struct MHD_Response *response;
    subscriber *made;
    int run = 0;

    if (wanted != NULL && (!route_number(wanted, &run) || run < 1))
        return send_text(connection, MHD_HTTP_NOT_FOUND, "There is no such run.\n");
    if (head)
        return send_response(connection, MHD_HTTP_OK,
                             MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT),
                             "text/event-stream");
    if (!hub_subscribe(s->pages, run, connection, &made))
        return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                         "Too many runs are being watched.\n");
    response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_events, made, end_events);
    if (response == NULL) {
        hub_unsubscribe(made);
        return MHD_NO;
    }
    /* nginx: pass each event on at once */
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    return send_response(connection, MHD_HTTP_OK, response, "text/event-stream");
}

static void free_sheet(void *context) {
    bytes_release(context);
}

/* Sends a sheet of samples, or waits for it. */
static enum MHD_Result send_sheet(http *s, struct MHD_Connection *connection, const route *r,
                                  request *q) {
    sheet_name name = {r->run, r->iteration};
    struct MHD_Response *response;
    bytes *png = NULL;
    char etag[24];

    switch (sheets_ask(s->pictures, name, connection, &q->sheet, &png)) {
    case SHEETS_WAIT:
        return MHD_YES;
    case SHEETS_NONE:
        return send_text(connection, MHD_HTTP_NOT_FOUND, "There is no such sheet.\n");
    case SHEETS_FAILED:
        return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                         "The database does not answer.\n");
    case SHEETS_FULL:
        return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                         "Too many sheets are being requested.\n");
    case SHEETS_HERE:
        break;
    }
    assets_etag(etag, png->data, png->size);
    if (is_current(connection, etag)) {
        bytes_release(png);
        return send_tagged(connection,
                           MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT), etag,
                           "image/png", MHD_HTTP_NOT_MODIFIED);
    }
    response = MHD_create_response_from_buffer_with_free_callback_cls(png->size, png->data,
                                                                      free_sheet, png);
    if (response == NULL)
        bytes_release(png);
    return send_tagged(connection, response, etag, "image/png", MHD_HTTP_OK);
}

/* Answers a route. The files of the page are no secret; data from the database may be. */
static enum MHD_Result send_route(http *s, struct MHD_Connection *connection, const char *path,
                                  bool head, request *q) {
    route r = route_read(path);

    if (r.kind == ROUTE_ASSET)
        return send_asset(connection, r.asset);
    if (!access_granted(s->token,
                        MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "token"),
                        MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                                    MHD_HTTP_HEADER_AUTHORIZATION)))
        return send_text(connection, MHD_HTTP_UNAUTHORIZED,
                         "This dashboard asks for a token: add ?token=... to the address.\n");
    switch (r.kind) {
    case ROUTE_PAGE:
        return send_asset(connection, "index.html");
    case ROUTE_EVENTS:
        return send_events(s, connection, head);
    case ROUTE_SHEET:
        return send_sheet(s, connection, &r, q);
    default:
        return send_text(connection, MHD_HTTP_NOT_FOUND, "There is nothing here.\n");
    }
}

/* Tells whether a browser used a name or address of this program. */
static bool is_host_fine(const http *s, struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    bool known =
        info != NULL && getsockname(info->connect_fd, (struct sockaddr *)&local, &size) == 0;

    return access_host_fine(header(connection, MHD_HTTP_HEADER_HOST),
                            known ? (const struct sockaddr *)&local : NULL, s->names,
                            s->name_count);
}

/* Called by libmicrohttpd for the headers of a request, for pieces of its body, at its end, and
 * again when a connection that slept is woken. */
static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *body,
                              size_t *body_size, void **kept) {
    bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    http *s = context;

    (void)version;
    (void)body;
    if (*kept == NULL) {
        if (!head && strcmp(method, MHD_HTTP_METHOD_GET) != 0)
            return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and HEAD.\n");
        *kept = calloc(1, sizeof(request));
        return *kept != NULL ? MHD_YES : MHD_NO;
    }
    if (s->private && !is_host_fine(s, connection))
        return send_text(
            connection, MHD_HTTP_FORBIDDEN,
            "The name in your address is not one of this dashboard's names. Open it by the "
            "address that gan_dashboard printed, or start it with --host NAME.\n");
    if (*body_size > 0) { /* no request here needs a body */
        *body_size = 0;
        return MHD_YES;
    }
    return send_route(s, connection, path, head, *kept);
}

/* Called at the end of a request, whichever it was. */
static void completed(void *context, struct MHD_Connection *connection, void **kept,
                      enum MHD_RequestTerminationCode why) {
    http *s = context;
    request *q = *kept;

    (void)connection;
    (void)why;
    if (q != NULL)
        sheets_forget(s->pictures, q->sheet);
    free(q);
    *kept = NULL;
}

/* Raises the limit of open files to the number of allowed connections. */
static void allow_descriptors(unsigned connections) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)connections + 64;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Starts libmicrohttpd. */
static struct MHD_Daemon *start_daemon(http *s) {
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;

    return MHD_start_daemon(
        flags, 0, NULL, NULL, answer, s, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)s->at.fd,
        MHD_OPTION_NOTIFY_COMPLETED, completed, s, MHD_OPTION_CONNECTION_LIMIT, s->o->connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, s->o->per_address, MHD_OPTION_CONNECTION_TIMEOUT,
        QUIET_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX, MHD_OPTION_END);
}

/* Keeps the names that browsers may use: those of --host, and the one at which it listens. */
static void keep_names(http *s) {
    for (size_t i = 0; i < s->o->name_count; i++)
        s->names[s->name_count++] = s->o->names[i];
    s->names[s->name_count++] = s->o->host;
}

http *http_start(const options *o, hub *pages, sheets *pictures) {
    http *s = calloc(1, sizeof *s);

    if (s == NULL || !listen_open(&s->at, o->host, o->port)) {
        free(s);
        return NULL;
    }
    s->pages = pages;
    s->pictures = pictures;
    s->token = o->token;
    s->o = o;
    s->private = o->token == NULL && s->at.loopback;
    keep_names(s);
    allow_descriptors(o->connections);
    if ((s->daemon = start_daemon(s)) == NULL) {
        fprintf(
            stderr,
            "gan_dashboard: the HTTP server doesn't start\nAllow fewer --connections, or more open "
            "files (ulimit -n).\n");
        close(s->at.fd);
        free(s);
        return NULL;
    }
    if (s->token == NULL && !s->private)
        fprintf(stderr,
                "gan_dashboard: everybody who reaches %s can see the class's names\nTo ask for a "
                "token, add "
                "--token-file FILE.\n",
                o->host);
    return s;
}

void http_announce(const http *s) {
    listen_print(&s->at, s->o->host, s->token != NULL ? "?token=..." : "", stdout);
}

void http_stop(http *s) {
    MHD_stop_daemon(s->daemon);
    free(s);
}
