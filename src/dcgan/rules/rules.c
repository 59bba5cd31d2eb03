/*
 * rules.c - the table of rules, and the parser of a run's rule
 */
#include "rules.h"

#include <stdlib.h>
#include <string.h>

extern const dcgan_rule dcgan_rule_mean, dcgan_rule_clipped, dcgan_rule_trimmed, dcgan_rule_median,
    dcgan_rule_multikrum;

static const dcgan_rule *const rules[] = {
    &dcgan_rule_mean,   &dcgan_rule_clipped,   &dcgan_rule_trimmed,
    &dcgan_rule_median, &dcgan_rule_multikrum,
};

const dcgan_rule *dcgan_rule_at(size_t i) {
    return i < sizeof rules / sizeof *rules ? rules[i] : NULL;
}

/* Tells whether a word of a given length is a name. */
static bool is_word(const char *name, const char *word, size_t length) {
    return strlen(name) == length && memcmp(name, word, length) == 0;
}

static const dcgan_rule *find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (is_word(rules[i]->name, name, length))
            return rules[i];
    return NULL;
}

const dcgan_rule *dcgan_rule_find(const char *name) {
    return find(name, strlen(name));
}

static const char *skip_blanks(const char *text) {
    return text + strspn(text, " ");
}

/* Counts the letters of the word that a text begins with. */
static size_t word_length(const char *text) {
    return strspn(text, "abcdefghijklmnopqrstuvwxyz_");
}

/* Counts the characters of the number that a text begins with. strtod alone would take more: inf,
 * nan, 0x10. */
static size_t number_length(const char *text) {
    return strspn(text, "0123456789.+-eE");
}

/* Reads `parameter=number`, and moves on behind it. */
static dcgan_rule_fault read_parameter(dcgan_chosen_rule *chosen, bool *given, const char **text) {
    const dcgan_rule_parameter *p = chosen->rule->parameters;
    size_t length = word_length(*text), i = 0;
    const char *number = skip_blanks(*text + length);
    char *end;

    if (length == 0 || *number != '=')
        return DCGAN_RULE_MALFORMED;
    number = skip_blanks(number + 1);
    while (i < DCGAN_RULE_PARAMETERS && p[i].name && !is_word(p[i].name, *text, length))
        i++;
    if (i == DCGAN_RULE_PARAMETERS || !p[i].name || given[i])
        return DCGAN_RULE_NO_SUCH_PARAMETER;
    given[i] = true;
    chosen->parameters[i] = strtod(number, &end);
    if (end == number || end != number + number_length(number))
        return DCGAN_RULE_MALFORMED;
    if (!(chosen->parameters[i] >= p[i].low && chosen->parameters[i] <= p[i].high))
        return DCGAN_RULE_OUT_OF_RANGE;
    *text = skip_blanks(end);
    return DCGAN_RULE_OK;
}

dcgan_rule_fault dcgan_rule_read(dcgan_chosen_rule *chosen, const char *text) {
    size_t length = word_length(text);
    bool given[DCGAN_RULE_PARAMETERS] = {false};

    chosen->rule = find(text, length);
    if (!chosen->rule)
        return DCGAN_RULE_UNKNOWN;
    for (size_t i = 0; i < DCGAN_RULE_PARAMETERS; i++)
        chosen->parameters[i] = chosen->rule->parameters[i].usual;
    text = skip_blanks(text + length);
    if (*text == '\0')
        return DCGAN_RULE_OK;
    if (*text != '(')
        return DCGAN_RULE_MALFORMED;
    do {
        dcgan_rule_fault fault;
        text = skip_blanks(text + 1);
        fault = read_parameter(chosen, given, &text);
        if (fault != DCGAN_RULE_OK)
            return fault;
    } while (*text == ',');
    if (*text != ')' || *skip_blanks(text + 1) != '\0')
        return DCGAN_RULE_MALFORMED;
    return DCGAN_RULE_OK;
}

size_t dcgan_round_scratch(const dcgan_rule *rule, size_t accounts) {
    return 3 * accounts + (rule->needs & DCGAN_NEEDS_DISTANCES ? accounts * accounts : 0);
}
