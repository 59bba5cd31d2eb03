/*
 * test_plain.c - what the server says reaches the terminal as text and nothing else
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/common/plain.h"

#include <stdio.h>
#include <string.h>

static void becomes(const char *text, const char *expected) {
    char buffer[256];

    snprintf(buffer, sizeof buffer, "%s", text);
    plain_text(buffer);
    assert_string_equal(buffer, expected);
}

static void text_stays_as_it_is(void **state) {
    (void)state;
    becomes("", "");
    becomes("unit 7 of iteration 3: <b>&amp;</b> %n", "unit 7 of iteration 3: <b>&amp;</b> %n");
    becomes("two\nlines", "two\nlines");
    becomes("Zo\xC3\xAB \xE2\x80\x9Cquoted\xE2\x80\x9D \xE6\x97\xA5 \xF0\x9F\x98\x80",
            "Zo\xC3\xAB \xE2\x80\x9Cquoted\xE2\x80\x9D \xE6\x97\xA5 \xF0\x9F\x98\x80");
    becomes("\xC2\xA0", "\xC2\xA0");
}

static void control_characters_do_not_reach_the_terminal(void **state) {
    char text[2] = {0};
    (void)state;
    for (int c = 1; c < 32; c++) {
        text[0] = (char)c;
        becomes(text, c == '\n' ? "\n" : c == '\t' ? " " : "?");
    }
    becomes("\x7F", "?");
    becomes("\x1B[2J\x1B]0;title\x07", "?[2J?]0;title?");
    becomes("safe\rgone", "safe?gone");
    for (int c = 0x80; c < 0xA0; c++) { /* C1: U+009B is ESC [ to some terminals */
        char two[3] = {(char)0xC2, (char)c, 0};
        becomes(two, "?");
    }
}

static void what_the_eye_would_misread_is_shown(void **state) {
    (void)state;
    becomes("a\xE2\x80\xAE"
            "cba",
            "a?cba"); /* right-to-left override */
    becomes("a\xE2\x80\x8B"
            "b",
            "a?b"); /* zero width space */
    becomes("a\xE2\x80\xA8"
            "b",
            "a?b");                   /* line separator */
    becomes("\xE2\x81\xA6x", "?x");   /* isolate */
    becomes("\xEF\xBB\xBFx", "?x");   /* byte order mark */
    becomes("\xF3\xA0\x81\x81", "?"); /* tag */
}

static void bytes_that_are_no_characters_are_shown(void **state) {
    (void)state;
    becomes("\x9B"
            "2J",
            "?2J");
    becomes("\xFF\xFE", "??");
    becomes("\xC0\xAF", "??"); /* overlong */
    becomes("\xE0\x80\xAF", "???");
    becomes("\xED\xA0\x80", "???");      /* surrogate */
    becomes("\xF4\x90\x80\x80", "????"); /* beyond U+10FFFF */
    becomes("cut \xE2\x80", "cut ??");   /* as snprintf may leave it */
    becomes("\xC2", "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_stays_as_it_is),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
        cmocka_unit_test(what_the_eye_would_misread_is_shown),
        cmocka_unit_test(bytes_that_are_no_characters_are_shown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
