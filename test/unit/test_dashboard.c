/*
 * test_dashboard.c - the parts of gan_dashboard that need neither a database nor a browser
 */
#include "../../src/dashboard/access.h"
#include "../../src/dashboard/bytes.h"
#include "../../src/dashboard/hub.h"
#include "../../src/dashboard/command_line.h"
#include "../../src/dashboard/route.h"
#include "../../src/dashboard/sheets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A connection: how often it was put to sleep, less how often it was woken. */
typedef struct sleeper {
    int asleep;
} sleeper;

static void put_to_sleep(void *connection) {
    ((sleeper *)connection)->asleep++;
}

static void wake_up(void *connection) {
    ((sleeper *)connection)->asleep--;
}

static void paths_are_read_strictly(void **state) {
    static const char *const wrong[] = {"/sheet/",
                                        "/sheet/1",
                                        "/sheet/1/",
                                        "/sheet/1/2",
                                        "/sheet/1/2.PNG",
                                        "/sheet/01/2.png",
                                        "/sheet/1/02.png",
                                        "/sheet/-1/2.png",
                                        "/sheet/1/+2.png",
                                        "/sheet/1/2.png/",
                                        "/sheet/2147483648/2.png",
                                        "/sheet/1/99999999999999999999.png",
                                        "/sheet/ 1/2.png",
                                        "/sheet//2.png",
                                        "",
                                        "sheet/1/2.png"};
    route r = route_read("/sheet/12/2147483647.png");

    (void)state;
    assert_int_equal(r.kind, ROUTE_SHEET);
    assert_int_equal(r.run, 12);
    assert_int_equal(r.iteration, 2147483647);
    assert_int_equal(route_read("/sheet/1/0.png").kind, ROUTE_SHEET);
    assert_int_equal(route_read("/").kind, ROUTE_PAGE);
    assert_int_equal(route_read("/events").kind, ROUTE_EVENTS);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(route_read(wrong[i]).kind, ROUTE_NONE);
    assert_string_equal(route_read("/../etc/passwd").asset,
                        "../etc/passwd"); /* looked up among names, never opened */
}

static void only_the_right_token_opens(void **state) {
    static const char token[] = "abcdefgh12345678";

    (void)state;
    assert_true(access_granted(NULL, NULL, NULL));
    assert_true(access_granted(token, token, NULL));
    assert_true(access_granted(token, NULL, "Bearer abcdefgh12345678"));
    assert_true(access_granted(token, "wrong", "bearer abcdefgh12345678"));
    assert_false(access_granted(token, NULL, NULL));
    assert_false(access_granted(token, "", ""));
    assert_false(access_granted(token, "abcdefgh1234567", NULL));
    assert_false(access_granted(token, "abcdefgh123456789", NULL));
    assert_false(access_granted(token, "abcdefgh12345678abcdefgh12345678", NULL));
    assert_false(access_granted(token, "Abcdefgh12345678", "Basic abcdefgh12345678"));
    assert_false(access_granted(token, NULL, "Bearer"));
    assert_true(access_token_fine(token));
    assert_false(access_token_fine("short"));
    assert_false(access_token_fine("with space here"));
    assert_false(access_token_fine("per%cent&and="));
}

static void events_keep_their_form(void **state) {
    bytes *event = bytes_event("state", "{\"a\": 1}");

    (void)state;
    assert_int_equal(event->size, strlen("event: state\ndata: {\"a\": 1}\n\n"));
    assert_memory_equal(event->data, "event: state\ndata: {\"a\": 1}\n\n", event->size);
    bytes_release(event);
    event = bytes_event("x", "a\n\nevent: forged\r\n"); /* a line break can't end the field */
    assert_memory_equal(event->data,
                        "event: x\ndata: a\ndata: \ndata: event: forged\ndata: \ndata: \n\n",
                        event->size);
    bytes_release(event);
}

static void json_strings_are_escaped(void **state) {
    char *text = bytes_json_string("say \"hi\"\\ \n\t\x01 \xc3\xa4");

    (void)state;
    assert_string_equal(text, "\"say \\\"hi\\\"\\\\ \\u000a\\u0009\\u0001 \xc3\xa4\"");
    free(text);
    text = bytes_json_string("");
    assert_string_equal(text, "\"\"");
    free(text);
}

/* Reads an address that is fine, and compares what it says. */
static void reads_as(const char *text, const char *host, const char *port) {
    options o = {.host = "127.0.0.1", .port = "8765"};

    assert_int_equal(options_listen(&o, text), 0);
    assert_string_equal(o.host, host);
    assert_string_equal(o.port, port);
}

static void addresses_are_taken_apart(void **state) {
    static const char *const wrong[] = {"",        "[::1",    "[]:80", "a:b",  "host:65536",
                                        "host:1x", "[::1]80", "::1",   "host:"};
    options o = {.host = "127.0.0.1", .port = "8765"};

    (void)state;
    assert_int_equal(options_read(&o, 1, (char *[]){(char *)"gan_dashboard", NULL}), OPTIONS_GO);
    assert_string_equal(o.host, "127.0.0.1"); /* nobody else's, unless it is asked for */
    options_free(&o);
    reads_as("0.0.0.0", "0.0.0.0", "8765");
    reads_as("0.0.0.0:80", "0.0.0.0", "80");
    reads_as(":0", "127.0.0.1", "0");
    reads_as("[::1]:8080", "::1", "8080");
    reads_as("[::]", "::", "8765");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(options_listen(&o, wrong[i]), -1);
}

/* Reads all that a subscriber has not been told, a few bytes at a time. */
static const char *told(subscriber *s) {
    static char text[4096];
    size_t used = 0;
    long got;

    while ((got = hub_read(s, text + used, 7)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    return text;
}

static void pages_are_told_the_newest_once(void **state) {
    int bell = eventfd(0, EFD_NONBLOCK), runs[HUB_RUNS_MAX];
    hub *h = hub_new(put_to_sleep, wake_up, bell);
    sleeper ann = {0}, bo = {0};
    subscriber *a, *b;
    size_t pages;
    uint64_t rung;

    (void)state;
    hub_know_runs(h, (int[]){1, 2}, 2);
    assert_true(hub_subscribe(h, 1, &ann, &a));
    assert_int_equal(read(bell, &rung, sizeof rung), 8);
    assert_true(hub_subscribe(h, 2, &bo, &b));
    assert_string_equal(told(a), "");
    assert_string_equal(told(b), "");
    assert_int_equal(ann.asleep, 1);
    assert_int_equal(bo.asleep, 1);
    assert_int_equal(hub_watched(h, runs, false, &pages), 2);
    assert_int_equal(pages, 2);

    hub_publish(h, HUB_STATE, 1, bytes_event("state", "1"));
    assert_int_equal(ann.asleep, 0);
    assert_int_equal(bo.asleep, 1); /* another run's news wake nobody */
    hub_publish(h, HUB_STATE, 1, bytes_event("state", "2"));
    hub_publish(h, HUB_RUNS, 0, bytes_event("runs", "[]"));
    assert_string_equal(told(a), "event: runs\ndata: []\n\nevent: state\ndata: 2\n\n");
    assert_string_equal(told(b), "event: runs\ndata: []\n\n");
    hub_publish(h, HUB_STATE, 1, bytes_event("state", "2")); /* nothing new */
    assert_int_equal(ann.asleep, 1);
    hub_publish(h, HUB_STATE, 3, bytes_event("state", "3")); /* nobody watches it */
    assert_string_equal((hub_unsubscribe(a), told(b)), "");

    hub_publish(h, HUB_CURVES, 2, bytes_event("curves", "0"));
    assert_int_equal(hub_watched(h, runs, true, &pages), 0);
    hub_close(h);
    /* it read once more than a real connection would, and was woken before */
    assert_int_equal(bo.asleep, 1);
    assert_int_equal(hub_read(b, (char *)runs, sizeof runs), -1);
    hub_unsubscribe(b);
    hub_free(h);
    close(bell);
}

static void a_slow_page_gets_whole_events(void **state) {
    int bell = eventfd(0, EFD_NONBLOCK);
    hub *h = hub_new(put_to_sleep, wake_up, bell);
    sleeper ann = {0};
    subscriber *a;
    char start[5];

    (void)state;
    hub_know_runs(h, (int[]){1}, 1);
    assert_true(hub_subscribe(h, 1, &ann, &a));
    hub_publish(h, HUB_STATE, 1, bytes_event("state", "old"));
    assert_int_equal(hub_read(a, start, sizeof start), 5);
    hub_publish(h, HUB_STATE, 1, bytes_event("state", "never told"));
    hub_publish(h, HUB_STATE, 1, bytes_event("state", "new"));
    assert_string_equal(told(a), ": state\ndata: old\n\nevent: state\ndata: new\n\n");
    hub_unsubscribe(a);
    hub_free(h);
    close(bell);
}

static void runs_that_are_not_there_take_no_place(void **state) {
    int bell = eventfd(0, EFD_NONBLOCK), known[HUB_RUNS_MAX + 1], watched[HUB_RUNS_MAX];
    hub *h = hub_new(put_to_sleep, wake_up, bell);
    sleeper one = {0};
    subscriber *all[HUB_RUNS_MAX], *s;
    size_t pages;

    (void)state;
    for (int i = 0; i <= HUB_RUNS_MAX; i++)
        known[i] = i + 1;
    for (int i = 0; i < HUB_RUNS_MAX; i++)
        assert_true(hub_subscribe(h, 1000 + i, &one, &all[i])); /* invented */
    hub_know_runs(h, known, HUB_RUNS_MAX + 1);
    assert_int_equal(hub_watched(h, watched, false, &pages), 0);
    assert_int_equal(pages, HUB_RUNS_MAX);
    for (int i = 0; i < HUB_RUNS_MAX; i++)
        hub_unsubscribe(all[i]);
    for (int i = 0; i < HUB_RUNS_MAX; i++)
        assert_true(hub_subscribe(h, i + 1, &one, &all[i]));
    assert_false(hub_subscribe(h, HUB_RUNS_MAX + 1, &one, &s));
    for (int i = 0; i < HUB_RUNS_MAX; i++)
        hub_unsubscribe(all[i]);
    hub_free(h);
    close(bell);
}

static void a_page_of_a_run_to_come_or_gone_is_told_the_list(void **state) {
    int bell = eventfd(0, EFD_NONBLOCK), known[] = {1, 2}, watched[HUB_RUNS_MAX];
    hub *h = hub_new(put_to_sleep, wake_up, bell);
    sleeper one = {0};
    subscriber *s;
    size_t pages;

    (void)state;
    hub_know_runs(h, known, 1);
    hub_publish(h, HUB_RUNS, 0, bytes_event("runs", "[1]"));
    assert_true(hub_subscribe(h, 2, &one, &s));
    assert_string_equal(told(s), "event: runs\ndata: [1]\n\n");
    hub_know_runs(h, known, 2); /* it was created */
    assert_int_equal(hub_watched(h, watched, true, &pages), 1);
    assert_int_equal(watched[0], 2);
    hub_publish(h, HUB_STATE, 2, bytes_event("state", "2"));
    assert_string_equal(told(s), "event: state\ndata: 2\n\n");
    hub_know_runs(h, known, 1); /* and removed */
    hub_publish(h, HUB_RUNS, 0, bytes_event("runs", "[1, \"new\"]"));
    assert_string_equal(told(s), "event: runs\ndata: [1, \"new\"]\n\n");
    assert_int_equal(hub_watched(h, watched, false, &pages), 0);
    hub_unsubscribe(s);
    hub_free(h);
    close(bell);
}

static void another_sites_name_is_not_ours(void **state) {
    static const char *const ours[] = {"localhost",       "LOCALHOST:8765", "127.0.0.1",
                                       "127.0.0.1:1",     "[::1]",          "[::1]:8765",
                                       "faces.example:80"};
    static const char *const theirs[] = {"",
                                         ":",
                                         ":80",
                                         "evil.example",
                                         "evil.example:8765",
                                         "localhost.evil.example",
                                         "127.0.0.1.evil.example:8765",
                                         "localhost:80x",
                                         "[::1",
                                         "[::1]x",
                                         "[::1]:x",
                                         "127.0.0.2",
                                         "faces.example.evil",
                                         "localhost evil",
                                         "[",
                                         "a[::1]"};
    static const char *const names[] = {"faces.example"};

    (void)state;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        assert_true(access_host_fine(ours[i], NULL, names, 1));
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        assert_false(access_host_fine(theirs[i], NULL, names, 1));
    assert_false(access_host_fine("faces.example", NULL, NULL, 0));
}

/* An address that a connection came in at. */
static const struct sockaddr *came_in_at(const char *text, struct sockaddr_storage *address) {
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;

    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
        four->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
        six->sin6_family = AF_INET6;
    return (const struct sockaddr *)address;
}

static void the_address_that_was_reached_is_ours(void **state) {
    static const char *const ours[][2] = {
        {"127.0.1.1:8765", "127.0.1.1"},       {"127.0.1.1", "127.0.1.1"},
        {"192.168.1.20:80", "192.168.1.20"},   {"192.168.1.20:80", "::ffff:192.168.1.20"},
        {"[fe80::1]:8765", "fe80::1"},         {"[fe80::1%eth0]:8765", "fe80::1"},
        {"[fe80::1%25eth0]:8765", "fe80::1"},  {"[FD00:0:0::0020]", "fd00::20"},
        {"[::ffff:127.0.1.1]:1", "127.0.1.1"}, {"localhost:1", "127.0.1.1"},
        {"[0:0:0:0:0:0:0:1]:8765", "::1"},     {"127.0.0.1:8765", "127.0.1.1"}};
    static const char *const theirs[][2] = {
        {"127.0.1.2:8765", "127.0.1.1"},
        {"evil.example", "127.0.1.1"},
        {"127.0.1.1.evil.example", "127.0.1.1"},
        {"[127.0.1.1]", "127.0.1.1"},
        {"127.0.1.1:x", "127.0.1.1"},
        {"[fe80::2]", "fe80::1"},
        {"fe80::1", "fe80::1"},
        {"[%25eth0]", "::"},
        {"2130706689", "127.0.1.1"},
        {"[fe80::1]evil", "fe80::1"},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]", "::"}};
    struct sockaddr_storage local;

    (void)state;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        assert_true(access_host_fine(ours[i][0], came_in_at(ours[i][1], &local), NULL, 0));
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        assert_false(access_host_fine(theirs[i][0], came_in_at(theirs[i][1], &local), NULL, 0));
}

static void a_sheet_is_asked_for_once(void **state) {
    int bell = eventfd(0, EFD_NONBLOCK);
    sheets *c = sheets_new(1000, put_to_sleep, wake_up, bell);
    sleeper people[3] = {{0}, {0}, {0}};
    void *requests[3] = {NULL, NULL, NULL};
    sheet_name name = {1, 10}, none = {1, 11}, wanted[SHEETS_AT_ONCE];
    bytes *png = NULL;

    (void)state;
    assert_int_equal(sheets_ask(c, name, &people[0], &requests[0], &png), SHEETS_WAIT);
    assert_int_equal(sheets_ask(c, name, &people[1], &requests[1], &png), SHEETS_WAIT);
    assert_int_equal(sheets_ask(c, none, &people[2], &requests[2], &png), SHEETS_WAIT);
    assert_int_equal(sheets_wanted(c, wanted), 2);
    assert_int_equal(wanted[0].iteration, 10);
    sheets_put(c, name, bytes_new("png", 3));
    sheets_put(c, none, NULL);
    assert_int_equal(sheets_wanted(c, wanted), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(people[i].asleep, 0);
        assert_int_equal(sheets_ask(c, name, &people[i], &requests[i], &png), SHEETS_HERE);
        assert_memory_equal(png->data, "png", 3);
        bytes_release(png);
    }
    png = NULL;
    assert_int_equal(sheets_ask(c, none, &people[2], &requests[2], &png), SHEETS_NONE);
    for (int i = 0; i < 3; i++)
        sheets_forget(c, requests[i]);
    requests[0] = NULL;
    /* from memory */
    assert_int_equal(sheets_ask(c, name, &people[0], &requests[0], &png), SHEETS_HERE);
    assert_null(requests[0]);
    bytes_release(png);
    sheets_free(c);
    close(bell);
}

/* Asks for a sheet and leaves; returns whether it was in memory. */
static bool is_kept(sheets *c, int iteration) {
    sleeper one = {0};
    void *request = NULL;
    bytes *png = NULL;
    sheets_answer answer = sheets_ask(c, (sheet_name){1, iteration}, &one, &request, &png);

    bytes_release(png);
    sheets_forget(c, request);
    return answer == SHEETS_HERE;
}

static void the_cache_is_bounded(void **state) {
    static const char png[400];
    int bell = eventfd(0, EFD_NONBLOCK);
    sheets *c = sheets_new(1000, put_to_sleep, wake_up, bell);

    (void)state;
    sheets_put(c, (sheet_name){1, 1}, bytes_new(png, sizeof png));
    sheets_put(c, (sheet_name){1, 2}, bytes_new(png, sizeof png));
    assert_true(is_kept(c, 1)); /* which makes it the more recent */
    sheets_put(c, (sheet_name){1, 3}, bytes_new(png, sizeof png));
    assert_true(is_kept(c, 1));
    assert_false(is_kept(c, 2));
    assert_true(is_kept(c, 3));
    sheets_clear(c);
    assert_false(is_kept(c, 1));
    sheets_free(c);
    close(bell);
}

static void too_many_sheets_are_refused(void **state) {
    int bell = eventfd(0, EFD_NONBLOCK);
    sheets *c = sheets_new(1000, put_to_sleep, wake_up, bell);
    sleeper one = {0};
    void *requests[SHEETS_WANTED_MAX + 2] = {NULL};
    bytes *png = NULL;

    (void)state;
    for (int i = 0; i < SHEETS_WANTED_MAX; i++)
        assert_int_equal(sheets_ask(c, (sheet_name){1, i}, &one, &requests[i], &png), SHEETS_WAIT);
    assert_int_equal(sheets_ask(c, (sheet_name){1, 1000}, &one, &requests[SHEETS_WANTED_MAX], &png),
                     SHEETS_FULL);
    assert_int_equal(
        sheets_ask(c, (sheet_name){1, 5}, &one, &requests[SHEETS_WANTED_MAX + 1], &png),
        SHEETS_WAIT);
    sheets_fail(c, 1);
    assert_int_equal(one.asleep, 0);
    assert_int_equal(sheets_ask(c, (sheet_name){1, 5}, &one, &requests[5], &png), SHEETS_FAILED);
    for (int i = 0; i < SHEETS_WANTED_MAX + 2; i++)
        sheets_forget(c, requests[i]);
    sheets_free(c);
    close(bell);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_read_strictly),
        cmocka_unit_test(only_the_right_token_opens),
        cmocka_unit_test(events_keep_their_form),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(addresses_are_taken_apart),
        cmocka_unit_test(pages_are_told_the_newest_once),
        cmocka_unit_test(a_slow_page_gets_whole_events),
        cmocka_unit_test(runs_that_are_not_there_take_no_place),
        cmocka_unit_test(a_page_of_a_run_to_come_or_gone_is_told_the_list),
        cmocka_unit_test(another_sites_name_is_not_ours),
        cmocka_unit_test(the_address_that_was_reached_is_ours),
        cmocka_unit_test(a_sheet_is_asked_for_once),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(too_many_sheets_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
