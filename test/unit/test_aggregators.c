/*
 * test_aggregators.c - the rules beside straightforward references: sorting by qsort, distances and
 * scores in plain loops
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../../src/dcgan/rules/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64      /* accounts */
#define NUMBERS 1003 /* of a vector: no multiple of any block */

/* Draws a number of mean 0, about normal; the same ones each time. */
static double draw(void) {
    static uint64_t state = 88172645463325252u;
    double sum = -6;

    for (int i = 0; i < 12; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(state >> 11) * 0x1p-53;
    }
    return sum;
}

static float rows[MOST * NUMBERS];

/* Fills n rows; every third number of a row is often the same, so that there are ties. */
static void draw_rows(size_t n) {
    for (size_t i = 0; i < n * NUMBERS; i++)
        rows[i] = i % 3 ? (float)draw() : (float)((int)(draw() * 2)) / 2;
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The mean of a coordinate's sorted numbers, by qsort. */
static float reference_ranked(size_t n, size_t j, size_t first, size_t last) {
    float column[MOST];
    double sum = 0;

    for (size_t k = 0; k < n; k++)
        column[k] = rows[k * NUMBERS + j];
    qsort(column, n, sizeof *column, compare_floats);
    for (size_t k = first; k < last; k++)
        sum += (double)column[k];
    return (float)(sum / (double)(last - first));
}

/* Weighs by the rule that a text names; returns it. */
static const dcgan_rule *weigh(const char *text, dcgan_round *round) {
    static dcgan_chosen_rule chosen;

    assert_int_equal(dcgan_rule_read(&chosen, text), DCGAN_RULE_OK);
    round->parameters = chosen.parameters;
    chosen.rule->weigh(round);
    return chosen.rule;
}

/* A round of n accounts, a unit each. */
static dcgan_round *set_accounts(size_t n) {
    static size_t account[MOST];
    static double images[MOST], scratch[MOST * MOST + 3 * MOST], weight[MOST], scale[MOST];
    static dcgan_round round;

    for (size_t i = 0; i < n; i++) {
        account[i] = i;
        images[i] = (double)(i + 1);
    }
    round = (dcgan_round){.units = n,
                          .accounts = n,
                          .account = account,
                          .images = images,
                          .scratch = scratch,
                          .weight = weight,
                          .scale = scale};
    return &round;
}

/* Combines all numbers by a rule with tiles and compares bits, also those of the sums. */
static void check_ranked(size_t n, const char *text, size_t first, size_t last) {
    static float mean[NUMBERS];
    static double wide[MOST * NUMBERS], sums[NUMBERS];
    dcgan_round *round = set_accounts(n);
    const dcgan_rule *rule = weigh(text, round);
    void *memory = malloc(rule->tile_memory(n));

    draw_rows(n);
    for (size_t i = 0; i < n * NUMBERS; i++)
        wide[i] = (double)rows[i];
    rule->tile_begin(memory, round);
    assert_true(rule->tile(memory, mean, rows, NUMBERS, NUMBERS));
    assert_true(rule->tile_of_sums(memory, sums, wide, NUMBERS));
    for (size_t j = 0; j < NUMBERS; j++) {
        float expected = reference_ranked(n, j, first, last);
        assert_true(mean[j] == expected);
        assert_true((float)sums[j] == expected);
    }
    free(memory);
}

static void trimmed_mean_equals_qsort(void **state) {
    (void)state;
    for (size_t n = 1; n <= MOST; n++) {
        size_t most = (n - 1) / 2, fifth = (n + 4) / 5, tenth = (n + 9) / 10,
               cut = fifth < most ? fifth : most;
        check_ranked(n, "trimmed", cut, n - cut);
        cut = tenth < most ? tenth : most;
        check_ranked(n, "trimmed(share=0.1)", cut, n - cut);
        check_ranked(n, "trimmed( share = 0 )", 0, n);
    }
}

static void median_equals_qsort(void **state) {
    (void)state;
    for (size_t n = 1; n <= MOST; n++)
        check_ranked(n, "median", (n - 1) / 2, n / 2 + 1);
}

/* A network that sorts all sequences of 0 and 1 sorts everything (Knuth's 0-1 principle). */
static void networks_sort_everything(void **state) {
    static dcgan_comparator network[256];
    (void)state;

    for (unsigned n = 1; n <= 14; n++) {
        size_t count = dcgan_sorting_network(n, 0, n, network);
        for (uint32_t bits = 0; bits < 1u << n; bits++) {
            uint32_t x = bits;
            for (size_t k = 0; k < count; k++)
                if ((x >> network[k].low & 1) > (x >> network[k].high & 1))
                    x ^= 1u << network[k].low | 1u << network[k].high;
            assert_int_equal(x, ((1u << __builtin_popcount(bits)) - 1)
                                    << (n - (unsigned)__builtin_popcount(bits)));
        }
    }
    assert_int_equal(dcgan_sorting_network(8, 0, 8, NULL), 19);
    assert_int_equal(dcgan_sorting_network(64, 0, 64, NULL), 543);
    assert_true(dcgan_sorting_network(8, 3, 5, network) < 19);
}

/* ---- rules that weigh ---- */

#define UNITS 6
typedef struct scene {
    size_t account[UNITS];
    double images[UNITS], effort[UNITS], norms[UNITS][DCGAN_NETWORK_COUNT], scratch[512],
        weight[UNITS], scale[UNITS];
    dcgan_round round;
} scene;

/* Four accounts, of which one has three units. */
static scene *set_scene(void) {
    static scene s;

    s = (scene){.account = {0, 1, 1, 2, 1, 3},
                .images = {10, 10, 20, 10, 30, 20},
                .effort = {1, 1, 1, 1, 1, 1},
                .norms = {{1, 9}, {1.5, 10}, {1, 11}, {0.9, 8}, {1.1, 9}, {1.2, 12}}};
    s.round = (dcgan_round){.units = UNITS,
                            .accounts = 4,
                            .account = s.account,
                            .images = s.images,
                            .effort = s.effort,
                            .norms = &s.norms[0][0],
                            .scratch = s.scratch,
                            .weight = s.weight,
                            .scale = s.scale};
    return &s;
}

static void the_table_has_every_rule(void **state) {
    static const char *const names[] = {"mean", "clipped", "trimmed", "median", "multikrum"};
    (void)state;

    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(dcgan_rule_at(i)->name, names[i]);
        assert_ptr_equal(dcgan_rule_find(names[i]), dcgan_rule_at(i));
    }
    assert_null(dcgan_rule_at(5));
    assert_null(dcgan_rule_find("sum"));
}

static void texts_name_rules(void **state) {
    static const struct {
        const char *text;
        dcgan_rule_fault fault;
    } cases[] = {
        {"", DCGAN_RULE_UNKNOWN},
        {"means", DCGAN_RULE_UNKNOWN},
        {"Mean", DCGAN_RULE_UNKNOWN},
        {" mean", DCGAN_RULE_UNKNOWN},
        {"sql:mean", DCGAN_RULE_UNKNOWN},
        {"mean()", DCGAN_RULE_MALFORMED},
        {"mean(share=1)", DCGAN_RULE_NO_SUCH_PARAMETER},
        {"trimmed(bound=1)", DCGAN_RULE_NO_SUCH_PARAMETER},
        {"trimmed(share=0.1, share=0.2)", DCGAN_RULE_NO_SUCH_PARAMETER},
        {"trimmed(shar=0.1)", DCGAN_RULE_NO_SUCH_PARAMETER},
        {"trimmed(share=0.1", DCGAN_RULE_MALFORMED},
        {"trimmed(share=0.1) x", DCGAN_RULE_MALFORMED},
        {"trimmed(share=)", DCGAN_RULE_MALFORMED},
        {"trimmed(share)", DCGAN_RULE_MALFORMED},
        {"trimmed(share=0.1,)", DCGAN_RULE_MALFORMED},
        {"trimmed(share=nan)", DCGAN_RULE_MALFORMED},
        {"trimmed(share=inf)", DCGAN_RULE_MALFORMED},
        {"trimmed(share=0x1p-3)", DCGAN_RULE_MALFORMED},
        {"trimmed(share=0.1-1)", DCGAN_RULE_MALFORMED},
        {"trimmed(share=-0.1)", DCGAN_RULE_OUT_OF_RANGE},
        {"trimmed(share=0.6)", DCGAN_RULE_OUT_OF_RANGE},
        {"trimmed(share=1e999)", DCGAN_RULE_OUT_OF_RANGE},
        {"trimmed share", DCGAN_RULE_MALFORMED},
        {"clipped (bound = 3) ", DCGAN_RULE_OK},
        {"trimmed(share=1e-1)", DCGAN_RULE_OK},
    };
    dcgan_chosen_rule chosen;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(dcgan_rule_read(&chosen, cases[i].text), cases[i].fault);
    assert_true(dcgan_rule_read(&chosen, "clipped") == DCGAN_RULE_OK && chosen.parameters[0] == 2);
    assert_true(dcgan_rule_read(&chosen, "clipped(bound=3)") == DCGAN_RULE_OK &&
                chosen.parameters[0] == 3 && chosen.rule == dcgan_rule_find("clipped"));
}

static void mean_counts_images(void **state) {
    scene *s = set_scene();
    (void)state;

    weigh("mean", &s->round);
    for (size_t i = 0; i < UNITS; i++)
        assert_true(s->weight[i] == s->images[i] / 100 && s->scale[i] == 1);
    weigh("median", &s->round);
    for (size_t i = 0; i < UNITS; i++)
        assert_true(s->weight[i] == (s->account[i] == 1 ? s->images[i] / 60 : 1));
}

static void an_honest_class_is_not_clipped(void **state) {
    scene *s = set_scene();
    double weight[UNITS];
    (void)state;

    weigh("mean", &s->round);
    memcpy(weight, s->weight, sizeof weight);
    memset(s->weight, 0, sizeof s->weight);
    weigh("clipped", &s->round);
    assert_memory_equal(weight, s->weight, sizeof weight);
}

/* The bound is twice the median of the accounts' levels; G's fault scales D as well. */
static void what_is_too_long_is_clipped(void **state) {
    scene *s = set_scene();
    double levels[] = {1, (1.5 * 10 + 1 * 20 + 1.1 * 30) / 60, 0.9, 1e6}, bound;
    (void)state;

    s->norms[5][DCGAN_OF_GENERATOR] = 1e6;
    s->norms[3][DCGAN_OF_DISCRIMINATOR] = 100;
    weigh("clipped", &s->round);
    bound = 2 * dcgan_median(levels, 4);
    assert_true(fabs(s->scale[5] - bound / 1e6) < 1e-18);
    assert_true(s->weight[5] == 0.2 * s->scale[5]);
    assert_true(s->scale[0] == 1 && s->scale[1] == 1 && s->scale[2] == 1 && s->scale[4] == 1);
    weigh("clipped(bound=4)", &s->round);
    assert_true(fabs(s->scale[5] - 2 * bound / 1e6) < 1e-18);
    weigh("clipped", &s->round);
    /* D's levels: 9, (10·10 + 11·20 + 9·30) / 60, 100, 12 */
    bound = 12 + (10 * 10 + 11 * 20 + 9 * 30) / 60.0;
    assert_true(fabs(s->scale[3] - bound / 100) < 1e-15);
}

/* However many units one account has, the bound is that of the others; zeros of half a class don't
 * make it 0. */
static void one_account_does_not_move_the_bound(void **state) {
    scene *s = set_scene();
    (void)state;

    for (size_t i = 0; i < UNITS; i++)
        for (size_t n = 0; n < DCGAN_NETWORK_COUNT; n++)
            s->norms[i][n] = s->account[i] == 1 ? 1000 : 1;
    weigh("clipped", &s->round);
    for (size_t i = 0; i < UNITS; i++)
        assert_true(s->scale[i] == (s->account[i] == 1 ? 0.002 : 1));
    for (size_t i = 0; i < UNITS; i++)
        for (size_t n = 0; n < DCGAN_NETWORK_COUNT; n++)
            s->norms[i][n] = s->account[i] <= 1 ? 0 : 1;
    weigh("clipped", &s->round);
    for (size_t i = 0; i < UNITS; i++)
        assert_true(s->scale[i] == 1);
}

/* Nobody can tell which of two is right: nothing is clipped, of one or two accounts. */
static void one_account_or_two_are_not_clipped(void **state) {
    scene *s = set_scene();
    (void)state;

    s->round.units = 2;
    s->round.accounts = 2;
    s->norms[1][0] = 1e9;
    weigh("clipped", &s->round);
    assert_true(s->scale[0] == 1 && s->scale[1] == 1);
    s->round.units = s->round.accounts = 1;
    weigh("clipped", &s->round);
    assert_true(s->scale[0] == 1 && s->weight[0] == 1);
}

/* Changes of more steps are longer: by sqrt(H) or by H, both are honest. */
static void more_steps_may_go_further(void **state) {
    static const double powers[] = {0.5, 0.75, 1};
    (void)state;

    for (size_t p = 0; p < 3; p++) {
        scene *s = set_scene();
        for (size_t i = 0; i < UNITS; i++) {
            s->account[i] = i % 4;
            s->effort[i] = (double)(1 << i);
            s->norms[i][0] = s->norms[i][1] = 0.1 * pow(s->effort[i], powers[p]);
        }
        weigh("clipped", &s->round);
        for (size_t i = 0; i < UNITS; i++)
            assert_true(s->scale[i] == 1);
        s->norms[2][0] = 100;
        weigh("clipped", &s->round);
        assert_true(s->scale[2] < 0.1 && s->scale[1] == 1);
    }
}

/* Krum in plain loops: distances of G (the first 400 numbers) and D, each by its median over all
 * pairs. */
static void reference_krum(size_t n, size_t f, int *chosen) {
    static double d[2][MOST][MOST], pairs[2][MOST * MOST], scores[MOST];
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            d[0][i][j] = d[1][i][j] = 0;
            for (size_t k = 0; k < NUMBERS; k++)
                d[k >= 400][i][j] +=
                    pow((double)rows[i * NUMBERS + k] - (double)rows[j * NUMBERS + k], 2);
            if (j < i)
                pairs[0][count] = d[0][i][j], pairs[1][count++] = d[1][i][j];
        }
    for (size_t i = 0; i < n; i++) {
        double near[MOST];
        size_t others = 0;
        for (size_t j = 0; j < n; j++)
            if (i != j)
                near[others++] = d[0][i][j] / dcgan_median(pairs[0], count) +
                                 d[1][i][j] / dcgan_median(pairs[1], count);
        dcgan_sort(near, others);
        scores[i] = 0;
        for (size_t k = 0; k < n - f - 2; k++)
            scores[i] += near[k];
    }
    for (size_t i = 0; i < n; i++) {
        size_t better = 0;
        for (size_t j = 0; j < n; j++)
            better += scores[j] < scores[i];
        chosen[i] = better < n - f;
    }
}

/* The number of accounts that Multi-Krum takes for attackers. */
static size_t refused(size_t n, double share) {
    size_t most = n < 3 ? 0 : (n - 3) / 2, f = (size_t)(share * (double)n);
    return f < most ? f : most;
}

static void check_krum(size_t n, const char *text, double share) {
    static double distances[2 * MOST * MOST];
    dcgan_round *round = set_accounts(n);
    size_t f = refused(n, share);
    int chosen[MOST];

    round->distances = distances;
    draw_rows(n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < NUMBERS; j++)
            rows[i * NUMBERS + j] +=
                i < f ? -3 : (float)(0.05 * (double)i); /* attackers; no two scores alike */
    memset(distances, 0, sizeof distances);
    dcgan_add_distances(distances, rows, NUMBERS, n, 400);
    dcgan_add_distances(distances + n * n, rows + 400, NUMBERS, n, NUMBERS - 400);
    weigh(text, round);
    reference_krum(n, f, chosen);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(round->scale[i], chosen[i]);
        assert_true(fabs(round->weight[i] - chosen[i] / (double)(n - f)) < 1e-15);
        assert_true(i >= f || !chosen[i]);
    }
}

static void multikrum_equals_plain_loops(void **state) {
    (void)state;

    for (size_t n = 5; n <= 33; n += 7) {
        check_krum(n, "multikrum", 0.3);
        check_krum(n, "multikrum(attackers=0.1)", 0.1);
    }
    assert_int_equal(refused(32, 0.3), 9);
    assert_int_equal(refused(5, 0.3), 1);
    assert_int_equal(refused(4, 0.3), 0);
}

/* The networks' squared distances are each divided by their own median and added (docs/format.md,
 * section 7): that leaves out account 3. Dividing the distances and squaring the sum would leave
 * out account 0. */
static void multikrum_adds_squares(void **state) {
    static const double g[5] = {5, 10, 8, 7, 12}, d[5] = {8, 3, 1, 11, 0},
                        images[5] = {1, 1, 1, 1, 1};
    static const size_t account[5] = {0, 1, 2, 3, 4};
    double distances[2 * 25], scratch[64], weight[5], scale[5];
    dcgan_round round = {.units = 5,
                         .accounts = 5,
                         .account = account,
                         .images = images,
                         .distances = distances,
                         .scratch = scratch,
                         .weight = weight,
                         .scale = scale};
    (void)state;

    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            distances[i * 5 + j] = (g[i] - g[j]) * (g[i] - g[j]);
            distances[25 + i * 5 + j] = (d[i] - d[j]) * (d[i] - d[j]);
        }
    weigh("multikrum", &round);
    for (size_t i = 0; i < 5; i++)
        assert_true(scale[i] == (i == 3 ? 0 : 1));
}

/* Few accounts, and ones that are all alike, are averaged. */
static void multikrum_of_few(void **state) {
    double distances[2 * 16] = {0}, scratch[64], images[] = {1, 1, 1, 1}, weight[4], scale[4];
    size_t account[] = {0, 1, 2, 3};
    (void)state;

    for (size_t n = 1; n <= 4; n++) {
        dcgan_round round = {.units = n,
                             .accounts = n,
                             .account = account,
                             .images = images,
                             .distances = distances,
                             .scratch = scratch,
                             .weight = weight,
                             .scale = scale};
        weigh("multikrum", &round);
        for (size_t i = 0; i < n; i++)
            assert_true(weight[i] == 1 / (double)n && scale[i] == 1);
    }
}

static void an_update_is_measured_and_shortened(void **state) {
    float old[77], weights[77];
    double change = 0, size = 0, expected_change = 0, expected_size = 0, shorter = 0, ignored = 0;
    (void)state;

    for (size_t j = 0; j < 77; j++) {
        old[j] = (float)draw();
        weights[j] = old[j] + (float)draw();
        expected_change += pow((double)weights[j] - (double)old[j], 2);
        expected_size += pow((double)old[j], 2);
    }
    dcgan_update_size(weights, old, 77, &change, &size);
    assert_true(fabs(change / expected_change - 1) < 1e-12 &&
                fabs(size / expected_size - 1) < 1e-12);
    dcgan_update_scale(weights, old, 77, 0.25);
    dcgan_update_size(weights, old, 77, &shorter, &ignored);
    assert_true(fabs(sqrt(shorter / change) - 0.25) < 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trimmed_mean_equals_qsort),
        cmocka_unit_test(median_equals_qsort),
        cmocka_unit_test(networks_sort_everything),
        cmocka_unit_test(the_table_has_every_rule),
        cmocka_unit_test(texts_name_rules),
        cmocka_unit_test(mean_counts_images),
        cmocka_unit_test(an_honest_class_is_not_clipped),
        cmocka_unit_test(what_is_too_long_is_clipped),
        cmocka_unit_test(one_account_does_not_move_the_bound),
        cmocka_unit_test(one_account_or_two_are_not_clipped),
        cmocka_unit_test(more_steps_may_go_further),
        cmocka_unit_test(multikrum_equals_plain_loops),
        cmocka_unit_test(multikrum_adds_squares),
        cmocka_unit_test(multikrum_of_few),
        cmocka_unit_test(an_update_is_measured_and_shortened),
    };
    return cmocka_run_group_tests_name("aggregators", tests, NULL, NULL);
}
