/*
 * rule_list.c - the rules in C, for SQL: lists them and checks a text that names one
 */
#include "../run/run.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(gan_aggregators);

/* Lists the rules that combine the results of units. */
Datum gan_aggregators(PG_FUNCTION_ARGS) {
    Datum names[32];
    int count = 0;

    for (const dcgan_rule *rule; count < lengthof(names) && (rule = dcgan_rule_at(count)) != NULL;)
        names[count++] = CStringGetTextDatum(rule->name);
    PG_RETURN_ARRAYTYPE_P(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(gan_rules);

/* Lists them with their parameters: a row for each, or one for a rule that has none. */
Datum gan_rules(PG_FUNCTION_ARGS) {
    ReturnSetInfo *set = (ReturnSetInfo *)fcinfo->resultinfo;

    InitMaterializedSRF(fcinfo, 0);
    for (size_t i = 0; dcgan_rule_at(i); i++) {
        const dcgan_rule *rule = dcgan_rule_at(i);
        for (int k = 0; k < DCGAN_RULE_PARAMETERS && (k == 0 || rule->parameters[k].name); k++) {
            const dcgan_rule_parameter *p = &rule->parameters[k];
            bool none = !p->name;
            tuplestore_putvalues(
                set->setResult, set->setDesc,
                (Datum[]){CStringGetTextDatum(rule->name), CStringGetTextDatum(rule->meaning),
                          none ? (Datum)0 : CStringGetTextDatum(p->name), Float8GetDatum(p->usual),
                          Float8GetDatum(p->low), Float8GetDatum(p->high),
                          none ? (Datum)0 : CStringGetTextDatum(p->meaning)},
                (bool[]){false, false, none, none, none, none, none});
        }
    }
    return (Datum)0;
}

/* Says what a text that names no rule must be instead. */
static char *any_rule(void) {
    StringInfoData text;

    initStringInfo(&text);
    for (size_t i = 0; dcgan_rule_at(i); i++)
        appendStringInfo(&text, "%s'%s'", i > 0 ? ", " : "one of ", dcgan_rule_at(i)->name);
    return text.data;
}

/* Says how a rule is written, with its parameters. */
static char *this_rule(const dcgan_rule *rule) {
    StringInfoData text;

    initStringInfo(&text);
    appendStringInfo(&text, "'%s'", rule->name);
    for (int k = 0; k < DCGAN_RULE_PARAMETERS && rule->parameters[k].name; k++)
        appendStringInfo(&text, "%s%s=%g", k > 0 ? ", " : psprintf(" or '%s(", rule->name),
                         rule->parameters[k].name, rule->parameters[k].usual);
    if (!rule->parameters[0].name)
        return text.data;
    appendStringInfoString(&text, ")'");
    for (int k = 0; k < DCGAN_RULE_PARAMETERS && rule->parameters[k].name; k++)
        appendStringInfo(&text, ", %s from %g to %g", rule->parameters[k].name,
                         rule->parameters[k].low, rule->parameters[k].high);
    return text.data;
}

PG_FUNCTION_INFO_V1(gan_rule_must_be);

/* Returns what the text that names a rule must be instead; null if it is right. */
Datum gan_rule_must_be(PG_FUNCTION_ARGS) {
    dcgan_chosen_rule chosen;
    dcgan_rule_fault fault = dcgan_rule_read(&chosen, text_to_cstring(PG_GETARG_TEXT_PP(0)));

    if (fault == DCGAN_RULE_OK)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(cstring_to_text(chosen.rule ? this_rule(chosen.rule) : any_rule()));
}

PG_FUNCTION_INFO_V1(gan_rule_most_units);

/* Returns how many units an iteration may have with a rule; null: any number. */
Datum gan_rule_most_units(PG_FUNCTION_ARGS) {
    dcgan_chosen_rule chosen;

    if (dcgan_rule_read(&chosen, text_to_cstring(PG_GETARG_TEXT_PP(0))) != DCGAN_RULE_OK ||
        chosen.rule->most_units == 0)
        PG_RETURN_NULL();
    PG_RETURN_INT32((int32)chosen.rule->most_units);
}
