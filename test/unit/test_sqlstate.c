/*
 * test_sqlstate.c - which errors of the server are final, and the two sentences that each of them
 * becomes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/common/trouble.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the last state of knowledge in which a code is final; -1: never. */
static int last_final(const char *kind) {
    return strcmp(kind, "final") == 0               ? SQLSTATE_WORK
           : strcmp(kind, "final until work") == 0  ? SQLSTATE_CLASS
           : strcmp(kind, "final until class") == 0 ? SQLSTATE_NOTHING
                                                    : -1;
}

/* A sentence begins with a capital letter (or a name), ends with one mark, and is one line. */
static void assert_sentence(const char *text, const char *code) {
    size_t length = strlen(text);

    if (length < 5 || strchr(".?!", text[length - 1]) == NULL || strchr(text, '\n') != NULL ||
        strchr(".;:", text[length - 2]) != NULL || islower((unsigned char)text[0]))
        fail_msg("%s: \"%s\"", code, text);
}

/* What a student reads has no SQL in it. */
static void assert_no_sql(const char *text, const char *code) {
    static const char *const words[] = {"SELECT", "GRANT", "ALTER", "CREATE", "=>", "CALL "};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(text, words[i]) != NULL)
            fail_msg("%s: \"%s\" has SQL in it", code, text);
}

static void every_code_passes_or_is_final(void **state) {
    char path[512], line[256];
    size_t count = 0;
    FILE *in;

    (void)state;
    snprintf(path, sizeof path, "%s/sqlstates.tsv", getenv("GANN_FIXTURES"));
    in = fopen(path, "r");
    assert_non_null(in);
    while (fgets(line, sizeof line, in) != NULL) {
        char code[6] = "", kind[32] = "";

        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%5s\t%31[^\t]", code, kind), 2);
        for (int known = SQLSTATE_NOTHING; known <= SQLSTATE_WORK; known++) {
            trouble t;
            trouble_of_server(&t, code, "something happened", NULL, (sqlstate_known)known);
            if (t.passes != (known > last_final(kind)))
                fail_msg("%s %s when %d is known", code, t.passes ? "passes" : "is final", known);
            assert_sentence(t.what, code);
            assert_sentence(t.remedy, code);
            assert_no_sql(t.text, code);
            assert_true(t.passes ==
                        (strstr(t.remedy, "rying again until the server answers") != NULL));
            assert_string_equal(t.state, code);
        }
        count++;
    }
    fclose(in);
    assert_true(count > 240);
}

/* What no list has passes: a server of another make may have codes of its own. */
static void unknown_codes_pass(void **state) {
    static const char *const codes[] = {"ZZ123", "CR000", "YB001", "00000", ""};

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_false(sqlstate_advise(codes[i], SQLSTATE_NOTHING).final);
}

static void our_words_or_the_servers(void **state) {
    trouble t;

    (void)state;
    trouble_of_server(
        &t, "42883", "function gan_run_config(text) does not exist",
        "No function matches the given name. You might need to add explicit type casts.",
        SQLSTATE_NOTHING);
    assert_string_equal(t.text,
                        "This database has no class (gannsfriends is not installed in it).\n"
                        "Ask your instructor for the address: this may be the wrong database.");
    trouble_of_server(&t, "42704", "this class has 2 runs", "Choose one with --run: \"a\", \"b\".",
                      SQLSTATE_NOTHING);
    assert_string_equal(t.text, "This class has 2 runs.\nChoose one with --run: \"a\", \"b\".");
    trouble_of_server(&t, "25006", "cannot execute UPDATE in a read-only transaction", NULL,
                      SQLSTATE_WORK);
    assert_string_equal(t.text,
                        "The server accepts no changes at the moment: maintenance, or a failover.\n"
                        "There is nothing to do: trying again until the server answers.");
    trouble_of_server(&t, "53300", "sorry, too many clients already", NULL, SQLSTATE_NOTHING);
    assert_string_equal(
        t.text, "Sorry, too many clients already.\nTell your instructor that the server needs a "
                "higher max_connections; trying again until the server answers.");
    trouble_of_server(&t, "P0001", "gan_x is wrong\nand more", NULL, SQLSTATE_WORK);
    assert_string_equal(t.text, "gan_x is wrong.\nTell your instructor.");
}

/* However long the words are, they are cut, and still end. */
static void long_words(void **state) {
    char what[5000];
    trouble t;

    (void)state;
    memset(what, 'x', sizeof what - 1);
    what[sizeof what - 1] = '\0';
    trouble_of_server(&t, "P0001", what, what, SQLSTATE_NOTHING);
    assert_int_equal(strlen(t.what), sizeof t.what - 1);
    assert_int_equal(t.what[sizeof t.what - 2], '.');
    assert_int_equal(t.text[strlen(t.text) - 1], '.');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_passes_or_is_final), cmocka_unit_test(unknown_codes_pass),
        cmocka_unit_test(our_words_or_the_servers), cmocka_unit_test(long_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
