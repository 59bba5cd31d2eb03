/*
 * rules.c - the names of the rules, for SQL
 */
#include "../run/run.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(gan_aggregators);

/* Lists the rules by which the results of units become one. */
Datum gan_aggregators(PG_FUNCTION_ARGS) {
    Datum names[16];
    int count = 0;

    for (const dcgan_aggregator *rule;
         count < lengthof(names) && (rule = dcgan_aggregator_at(count)) != NULL;)
        names[count++] = CStringGetTextDatum(rule->name);
    PG_RETURN_ARRAYTYPE_P(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}
