/*
 * test_options.c - the command line, quiet hours, batteries, and what may be shown in a terminal
 */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/student/display.h"
#include "../../src/common/hardware.h"
#include "../../src/local/local_options.h"
#include "../../src/worker/worker_options.h"
#include "../../src/student/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads a command line of gan_worker, or, if it begins with the name, of gan_local: words; they stay where they are until the next call. */
static options_answer read_line(options *o, const char *line) {
    static char copy[1024];
    static char *words[32];
    int count = 0;

    bool local = strncmp(line, "gan_local", 9) == 0;

    snprintf(copy, sizeof copy, "%s%s", local ? "" : "gan_worker ", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    words[count] = NULL;
    return local ? local_options_read(o, count, words) : worker_options_read(o, count, words);
}

static void commands_and_their_defaults(void **state) {
    options o;

    (void)state;
    assert_int_equal(read_line(&o, "postgresql://ann:secret@host/train"), OPTIONS_GO);
    assert_false(o.sample);
    assert_string_equal(o.connect, "postgresql://ann:secret@host/train");
    assert_null(o.data);
    assert_true(o.threads >= 1 && !o.threads_given && !o.once);
    assert_int_equal(o.max_cpu, 100);
    assert_false(o.rest.quiet || o.rest.on_battery || o.check || o.seed_given);
    options_free(&o);
    setenv("PGHOST", "host", 1);
    assert_int_equal(read_line(&o, ""), OPTIONS_GO); /* libpq's environment says where */
    assert_null(o.connect);
    unsetenv("PGHOST");
    assert_int_equal(read_line(&o, "host=h --once --threads 3"), OPTIONS_GO);
    assert_true(o.once && o.threads_given && o.threads == 3);
    options_free(&o);
    assert_int_equal(
        read_line(
            &o, "gan_local --image-size 32 --features 8 --seed -5 --learning-rate 1e-3 --batch 7"),
        OPTIONS_GO);
    assert_int_equal(o.local.network.image_size, 32);
    assert_int_equal(o.local.network.generator_features, 8);
    assert_int_equal(o.local.network.discriminator_features, 8);
    assert_int_equal(o.local.local_steps, 40);
    assert_true(o.seed_given && o.seed == -5 && o.local.learning_rate == 1e-3 && o.batch == 7);
    assert_false(o.local.iterations_given);
    assert_string_equal(o.out, "gan-local");
    assert_int_equal(read_line(&o, "sample file.safetensors --count 9"), OPTIONS_GO);
    assert_true(o.sample);
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
    assert_int_equal(worker_options_read(&o, 2, words), OPTIONS_GO);
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
        {"gan_local --learning-rate 0", "above 0 and at most 1"},
        {"gan_local --learning-rate nan", "above 0 and at most 1"},
        {"--quiet-hours 22:00", "For example: --quiet-hours 22:00-07:00"},
        {"--quiet-hours 22:00-22:00", "two different times"},
        {"--quiet-hours 25:00-07:00", "two different times"},
        {"--name -x", "1 to 32 letters"},
        {"", "there is no connection string"},
        {"", "gan_worker postgresql://... [option ...]"}, /* usage */
        {"sample --count 4", "there is no connection string"},
        {"--bogus", "--bogus is not an option\n"},
        {"--bach 3", "--bach is not an option; did you mean --batch?"},
        {"--thread-count=3", "--thread-count is not an option\n"},
        {"--threds=3", "--threds is not an option; did you mean --threads?"},
        {"--conect=postgresql://ann:secret@h/d",
         "--conect is not an option; did you mean --connect?\n"},
        {"-threads 3", "-threads is not an option; did you mean --threads?"},
        {"-x", "-x is not an option\n"},
        {"--c", "--c is not an option\n"},
        {"--check=yes", "--check takes no value"},
        {"--data", "--data needs a value"},
        {"host=h --threads", "--threads needs a value"},
        {"--data --check host=h", "--data needs a value"},
        {"file.zip", "neither an option nor a connection string"},
        {"host=a host=b", "too many arguments"},
        {"--connect host=a host=b", "more than one connection string"},
        {"gan_local file.zip", "an argument is not an option"},
        {"gan_local --connect host=h", "gan_local: --connect is not an option"},
        {"gan_local --bach 3", "did you mean --batch?\ngan_local --help"},
        {"--iterations 3 host=h", "gan_worker: --iterations is not an option"},
        {"local --iterations 3", "Run gan_local"},
    };

    (void)state;
    for (size_t i = 0; i < 5; i++)
        unsetenv((const char *[]){"PGHOST", "PGHOSTADDR", "PGUSER", "PGDATABASE", "PGSERVICE"}[i]);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strstr(mistake(lines[i][0]), lines[i][1]) == NULL)
            fail_msg("%s: %s", lines[i][0], mistake(lines[i][0]));
}

static void no_mistake_shows_a_password(void **state) {
    static const char *const lines[] = {"--conect=postgresql://ann:secret@h/d", "--chek=secret",
                                        "--c=secret",
                                        "postgresql://ann:secret@h/d postgresql://ann:secret@h/d",
                                        "--connect postgresql://ann:secret@h:x:y/d?z"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strstr(mistake(lines[i]), "secret") != NULL)
            fail_msg("%s: %s", lines[i], mistake(lines[i]));
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

/* One machine: its supplies, and whether it runs on battery. "supply/file=text"; a new line of the
 * table, a new machine. */
static const struct {
    bool on_battery;
    const char *files[12];
} machines[] = {
    {false, {NULL}},
    {false, {"mouse/type=Battery", "mouse/scope=Device", "mouse/status=Discharging"}},
    {false, {"BAT0/type=Battery", "BAT0/status=Full"}},
    {false, {"BAT0/type=Battery", "BAT0/status=Not charging"}},
    {false, {"BAT0/type=Battery", "BAT0/status=Unknown"}},
    {false, {"BAT0/type=Battery"}},
    {false, {"BAT0/status=Discharging"}}, /* its type can't be read */
    {true, {"BAT0/type=Battery", "BAT0/status=Discharging"}},
    {false, {"BAT0/type=Battery", "BAT0/status=Discharging", "BAT0/present=0"}},
    {true,
     {"BAT0/type=Battery", "BAT0/status=Full", "BAT1/type=Battery", "BAT1/status=Discharging"}},
    {false, {"AC/type=Mains", "AC/online=0"}}, /* a desktop */
    {false,
     /* by USB-C, unseen */
     {"AC/type=Mains", "AC/online=0", "BAT0/type=Battery", "BAT0/status=Charging"}},
    {false, {"AC/type=Mains", "AC/online=0", "BAT0/type=Battery", "BAT0/status=Full"}},
    {true, {"AC/type=Mains", "AC/online=0", "BAT0/type=Battery", "BAT0/status=Discharging"}},
    /* a weak one */
    {false, {"AC/type=Mains", "AC/online=1", "BAT0/type=Battery", "BAT0/status=Discharging"}},
    {true, {"AC/type=Mains", "BAT0/type=Battery", "BAT0/status=Discharging"}}, /* it says nothing */
    {false,
     {"c/type=USB", "c/online=1", "AC/type=Mains", "AC/online=0", "BAT0/type=Battery",
      "BAT0/status=Discharging"}},
    {false, {"c/type=USB", "c/online=2", "BAT0/type=Battery", "BAT0/status=Discharging"}},
    {false, {"w/type=Wireless", "w/online=1", "BAT0/type=Battery", "BAT0/status=Discharging"}},
    {true, {"c/type=USB", "c/online=0", "BAT0/type=Battery", "BAT0/status=Discharging"}},
    {true,
     {"c/type=USB", "c/online=1", "c/device/typec/port0/power_role=[source] sink",
      "BAT0/type=Battery", "BAT0/status=Discharging"}}, /* a telephone hangs on it */
    {false,
     {"c/type=USB", "c/online=1", "c/device/typec/port0/power_role=source [sink]",
      "BAT0/type=Battery", "BAT0/status=Discharging"}},
    {true,
     {"pen/type=Mains", "pen/scope=Device", "pen/online=1", "BAT0/type=Battery",
      "BAT0/status=Discharging"}},
};

/* Writes "folder/file=text" below a folder. */
static void write_file(const char *folder, const char *file) {
    const char *equals = strchr(file, '=');
    char path[512];
    FILE *out;

    assert_non_null(equals);
    snprintf(path, sizeof path, "%s/%.*s", folder, (int)(equals - file), file);
    for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out, "%s\n", equals + 1);
    fclose(out);
}

static void remove_folder(const char *folder) {
    char command[64];

    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

static void batteries(void **state) {
    (void)state;
    assert_false(rest_on_battery("/nowhere"));
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        char folder[] = "/tmp/gann-power-XXXXXX";

        assert_non_null(mkdtemp(folder));
        for (size_t k = 0; machines[i].files[k] != NULL; k++)
            write_file(folder, machines[i].files[k]);
        if (rest_on_battery(folder) != machines[i].on_battery)
            fail_msg("machine %zu, %s ...", i, machines[i].files[0]);
        remove_folder(folder);
    }
}

/* Two processors of one core are one core; what shows no cores has as many as processors. */
static void cores(void **state) {
    char folder[] = "/tmp/gann-cores-XXXXXX", file[100];
    int processors = hardware_cores();

    (void)state;
    assert_true(processors >= 1);
    assert_int_equal(hardware_physical("/nowhere"), processors);
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 1024; i++) {
        snprintf(file, sizeof file, "cpu%d/topology/core_id=%d", i, i / 2048);
        write_file(folder, file);
        snprintf(file, sizeof file, "cpu%d/topology/physical_package_id=0", i);
        write_file(folder, file);
    }
    assert_int_equal(hardware_physical(folder), 1);
    for (int i = 0; i < 1024; i++) {
        snprintf(file, sizeof file, "cpu%d/topology/core_id=%d", i, i);
        write_file(folder, file);
    }
    assert_int_equal(hardware_physical(folder), processors);
    for (int i = 0; i < 1024; i++) { /* the same numbers in another package are other cores */
        snprintf(file, sizeof file, "cpu%d/topology/core_id=0", i);
        write_file(folder, file);
        snprintf(file, sizeof file, "cpu%d/topology/physical_package_id=%d", i, i);
        write_file(folder, file);
    }
    assert_int_equal(hardware_physical(folder), processors);
    remove_folder(folder);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_their_defaults),
        cmocka_unit_test(a_password_does_not_stay_where_others_see_it),
        cmocka_unit_test(mistakes_are_named_with_their_remedy),
        cmocka_unit_test(no_mistake_shows_a_password),
        cmocka_unit_test(quiet_hours),
        cmocka_unit_test(batteries),
        cmocka_unit_test(cores),
        cmocka_unit_test(durations)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
