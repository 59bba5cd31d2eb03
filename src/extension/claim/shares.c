/*
 * shares.c - how many units of an iteration each worker gets, and how large they are
 *
 * All workers should finish together, so a worker's share is in proportion to its speed. Both
 * functions are pure; ties go to the worker that comes first, so that the same speeds give the same
 * shares.
 */
#include "../module/module.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include <math.h>

/* Numbers of an SQL array that are all above 0 and finite. */
typedef struct positive {
    int count;
    float8 *values;
} positive;

/* Reads an argument that is an array of such numbers. */
static positive read_positive(FunctionCallInfo fcinfo, int argument) {
    ArrayType *array = PG_GETARG_ARRAYTYPE_P(argument);
    positive p = {0};
    Datum *elements;
    bool *nulls;

    deconstruct_array(array, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls,
                      &p.count);
    p.values = palloc(Max(p.count, 1) * sizeof *p.values);
    for (int i = 0; i < p.count; i++) {
        p.values[i] = nulls[i] ? 0 : DatumGetFloat8(elements[i]);
        if (!(p.values[i] > 0 && isfinite(p.values[i])))
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("number %d is %g, but must be above 0 and finite", i + 1,
                                   p.values[i])));
    }
    return p;
}

/* Returns whole numbers as an SQL array. */
static Datum integers(const int32 *numbers, int count) {
    Datum *elements = palloc(Max(count, 1) * sizeof *elements);

    for (int i = 0; i < count; i++)
        elements[i] = Int32GetDatum(numbers[i]);
    return PointerGetDatum(construct_array(elements, count, INT4OID, 4, true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(gan_deal);

/*
 * Deals units to workers: one to each, the fastest first, until no unit is left; each further one
 * to the worker that has the most speed for each unit it holds (the highest quotient, as in
 * d'Hondt's method).
 */
Datum gan_deal(PG_FUNCTION_ARGS) {
    positive speeds = read_positive(fcinfo, 0);
    int32 units = PG_GETARG_INT32(1), *dealt = palloc0(Max(speeds.count, 1) * sizeof *dealt);

    for (int32 unit = 0; unit < units && speeds.count > 0; unit++) {
        int best = 0;

        for (int i = 1; i < speeds.count; i++) {
            bool first = dealt[i] == 0, best_first = dealt[best] == 0;
            double mine = speeds.values[i] / Max(dealt[i], 1),
                   its = speeds.values[best] / Max(dealt[best], 1);

            if (first != best_first ? first : mine > its)
                best = i;
        }
        dealt[best]++;
    }
    PG_RETURN_DATUM(integers(dealt, speeds.count));
}

/* A division under way. */
typedef struct division {
    positive weights;
    double *shares;
    double low, high;
} division;

/*
 * Finds the shares that add up to the total: factor * weight, limited to the bounds. The sum grows
 * with the factor, so bisection finds the factor, to the last bit or nearly.
 */
static void find_shares(division *d, double total) {
    double below = 0, above = 0;

    for (int i = 0; i < d->weights.count; i++)
        above = Max(above, d->high / d->weights.values[i]);
    for (int step = 0; step < 200; step++) {
        double factor = below + (above - below) / 2, sum = 0;

        for (int i = 0; i < d->weights.count; i++) {
            d->shares[i] = Min(Max(factor * d->weights.values[i], d->low), d->high);
            sum += d->shares[i];
        }
        *(sum < total ? &below : &above) = factor;
    }
}

/* Rounds the shares to whole numbers, by the method of the largest remainder. */
static void round_shares(const division *d, int64 total, int32 *parts) {
    int64 left = total;

    for (int i = 0; i < d->weights.count; i++) {
        parts[i] = (int32)floor(d->shares[i]);
        left -= parts[i];
    }
    for (; left != 0; left += left < 0 ? 1 : -1) {
        int best = -1;
        double most = 0;

        for (int i = 0; i < d->weights.count; i++) {
            double remainder = left > 0 ? d->shares[i] - parts[i] : parts[i] - d->shares[i];
            bool room = left > 0 ? parts[i] < d->high : parts[i] > d->low;

            if (room && (best < 0 || remainder > most)) {
                best = i;
                most = remainder;
            }
        }
        parts[best] += left > 0 ? 1 : -1;
    }
}

PG_FUNCTION_INFO_V1(gan_divide);

/* Divides a total into whole numbers between two bounds, as nearly in proportion to the weights as
 * they allow. */
Datum gan_divide(PG_FUNCTION_ARGS) {
    division d = {.weights = read_positive(fcinfo, 0)};
    int64 total = PG_GETARG_INT64(1);
    int32 low = PG_GETARG_INT32(2), high = PG_GETARG_INT32(3), *parts;

    if (low < 0 || total < (int64)low * d.weights.count || total > (int64)high * d.weights.count)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg(INT64_FORMAT " can't be divided into %d parts between %d and %d",
                               total, d.weights.count, low, high)));
    d.low = low;
    d.high = high;
    d.shares = palloc0(Max(d.weights.count, 1) * sizeof *d.shares);
    parts = palloc0(Max(d.weights.count, 1) * sizeof *parts);
    find_shares(&d, (double)total);
    round_shares(&d, total, parts);
    PG_RETURN_DATUM(integers(parts, d.weights.count));
}
