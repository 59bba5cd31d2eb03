/*
 * test_options.c - the command line, quiet hours, batteries, and what may be shown in a terminal
 */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/worker/display.h"
#include "../../src/worker/options.h"
#include "../../src/worker/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads a command line of words; they stay where they are until the next call. */
static options_answer read_line(options *o, const char *line) {
    static char copy[1024];
    static char *words[32];
    int count = 0;

    snprintf(copy, sizeof copy, "gan_worker %s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    words[count] = NULL;
    return options_read(o, count, words);
}

static void commands_and_their_defaults(void **state) {
    options o;

    (void)state;
    assert_int_equal(read_line(&o, "postgresql://ann:secret@host/train"), OPTIONS_GO);
    assert_int_equal(o.command, OPTIONS_WORK);
    assert_string_equal(o.connect, "postgresql://ann:secret@host/train");
    assert_null(o.data);
    assert_int_equal(o.threads, 1);
    assert_int_equal(o.max_cpu, 100);
    assert_false(o.rest.quiet || o.rest.on_battery || o.check || o.seed_given);
    options_free(&o);
    assert_int_equal(read_line(&o, ""), OPTIONS_GO);
    assert_null(o.connect);
    assert_int_equal(
        read_line(&o, "local --image-size 32 --features 8 --seed -5 --learning-rate 1e-3 --batch 7"),
        OPTIONS_GO);
    assert_int_equal(o.command, OPTIONS_LOCAL);
    assert_int_equal(o.local.network.image_size, 32);
    assert_int_equal(o.local.network.generator_features, 8);
    assert_int_equal(o.local.network.discriminator_features, 8);
    assert_int_equal(o.local.local_steps, 40);
    assert_true(o.seed_given && o.seed == -5 && o.local.learning_rate == 1e-3 && o.batch == 7);
    assert_false(o.local.iterations_given);
    assert_string_equal(o.out, "gan-local");
    assert_int_equal(read_line(&o, "sample file.safetensors --count 9"), OPTIONS_GO);
    assert_int_equal(o.command, OPTIONS_SAMPLE);
    assert_string_equal(o.checkpoint, "file.safetensors");
    assert_int_equal(o.count, 9);
    assert_string_equal(o.out, "samples.png");
    assert_int_equal(read_line(&o, "sample host=h --run r"), OPTIONS_GO);
    assert_null(o.checkpoint);
    assert_string_equal(o.connect, "host=h");
    options_free(&o);
}

static void a_password_does_not_stay_where_others_see_it(void **state) {
    char program[] = "gan_worker", text[] = "postgresql://ann:secret@host/train";
    char *words[] = {program, text, NULL};
    options o;

    (void)state;
    assert_int_equal(options_read(&o, 2, words), OPTIONS_GO);
    for (const char *c = text; *c != '\0'; c++)
        assert_int_equal(*c, 'x');
    options_free(&o);
}

/* Swallows what a mistake prints, and returns it. */
static const char *mistake(const char *line) {
    static char text[4096];
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    options o;

    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    options_answer answer = read_line(&o, line);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    if (answer != OPTIONS_WRONG)
        fail_msg("\"%s\" was taken", line);
    options_free(&o);
    return text;
}

static void mistakes_are_named_with_their_remedy(void **state) {
    static const char *const lines[][2] = {
        {"--threads 0", "from 1 to 1024"},
        {"--threads 2x", "--threads is not a number"},
        {"--max-cpu 101", "from 1 to 100"},
        {"--nice 20", "For example: --nice 19"},
        {"--nice -1", "from 0 to 19"},
        {"--count 4097", "from 1 to 4096"},
        {"--seed 9223372036854775808", "--seed is not a number"},
        {"--learning-rate 0", "above 0 and at most 1"},
        {"--learning-rate nan", "above 0 and at most 1"},
        {"--quiet-hours 22:00", "For example: --quiet-hours 22:00-07:00"},
        {"--quiet-hours 22:00-22:00", "two different times"},
        {"--quiet-hours 25:00-07:00", "two different times"},
        {"--name -x", "1 to 32 letters"},
        {"--bogus", "unknown or lacks its value"},
        {"--data", "unknown or lacks its value"},
        {"file.zip", "neither an option nor a connection string"},
        {"host=a host=b", "too many arguments"},
        {"--connect host=a host=b", "more than one connection string"},
        {"local file.zip", "takes options only"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strstr(mistake(lines[i][0]), lines[i][1]) == NULL)
            fail_msg("%s: %s", lines[i][0], mistake(lines[i][0]));
}

static void quiet_hours(void **state) {
    static const char *const wrong[] = {"",
                                        "22:00",
                                        "22:00-",
                                        "22:00-7:00",
                                        "2200-0700",
                                        "22:60-07:00",
                                        "24:01-07:00",
                                        "-1:00-07:00",
                                        "22:00-07:00 ",
                                        "22:00-07:00-08:00",
                                        "ab:cd-ef:gh"};
    rest_rules rules = {0};

    (void)state;
    assert_false(rest_in_hours(&rules, 0));
    assert_true(rest_read_hours(&rules, "22:00-07:00"));
    assert_true(rest_in_hours(&rules, 22 * 60) && rest_in_hours(&rules, 0) &&
                rest_in_hours(&rules, 7 * 60 - 1));
    assert_false(rest_in_hours(&rules, 7 * 60) || rest_in_hours(&rules, 12 * 60) ||
                 rest_in_hours(&rules, 22 * 60 - 1));
    assert_true(rest_read_hours(&rules, "09:30-17:00"));
    assert_true(rest_in_hours(&rules, 9 * 60 + 30) && rest_in_hours(&rules, 17 * 60 - 1));
    assert_false(rest_in_hours(&rules, 9 * 60 + 29) || rest_in_hours(&rules, 17 * 60));
    assert_true(rest_read_hours(&rules, "18:00-24:00"));
    assert_true(rest_in_hours(&rules, 24 * 60 - 1));
    assert_false(rest_in_hours(&rules, 0));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (rest_read_hours(&rules, wrong[i]))
            fail_msg("\"%s\" was taken", wrong[i]);
}

/* Writes a file of a power supply. */
static void write_supply(const char *folder, const char *supply, const char *file, const char *text) {
    char path[512];
    FILE *out;

    snprintf(path, sizeof path, "%s/%s", folder, supply);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", folder, supply, file);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void batteries(void **state) {
    char folder[] = "/tmp/gann-power-XXXXXX", command[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_false(rest_on_battery("/nowhere"));
    assert_false(rest_on_battery(folder)); /* a machine without any */
    write_supply(folder, "mouse", "type", "Battery\n");
    write_supply(folder, "mouse", "scope", "Device\n");
    write_supply(folder, "mouse", "status", "Discharging\n");
    assert_false(rest_on_battery(folder));
    write_supply(folder, "BAT0", "type", "Battery\n");
    write_supply(folder, "BAT0", "status", "Full\n");
    assert_false(rest_on_battery(folder));
    write_supply(folder, "BAT0", "status", "Discharging\n");
    assert_true(rest_on_battery(folder)); /* no mains shown: the battery tells */
    write_supply(folder, "AC", "type", "Mains\n");
    write_supply(folder, "AC", "online", "1\n");
    assert_false(rest_on_battery(folder)); /* plugged in, even if a weak charger doesn't keep up */
    write_supply(folder, "AC", "online", "0\n");
    assert_true(rest_on_battery(folder));
    write_supply(folder, "usb-c", "type", "USB\n");
    write_supply(folder, "usb-c", "online", "1\n");
    assert_false(rest_on_battery(folder));
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void durations(void **state) {
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0 s"},          {59.4, "59 s"}, {60, "1 min"},   {4830, "1 h 20 min"},
                 {273600, "3 d 4 h"}, {-1, "0 s"},    {1e300, "years"}};
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        display_duration(text, sizeof text, cases[i].seconds);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(commands_and_their_defaults),
                                       cmocka_unit_test(a_password_does_not_stay_where_others_see_it),
                                       cmocka_unit_test(mistakes_are_named_with_their_remedy),
                                       cmocka_unit_test(quiet_hours),
                                       cmocka_unit_test(batteries),
                                       cmocka_unit_test(durations)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
