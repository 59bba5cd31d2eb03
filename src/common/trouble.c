/*
 * trouble.c - two sentences
 */
#include "trouble.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define AGAIN "trying again until the server answers"

/* Tells whether a text begins with an ordinary word, not the name of a function, file or option. */
static bool begins_with_word(const char *text) {
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz'");

    return length > 0 && (text[length] == ' ' || text[length] == ',' || text[length] == '\0');
}

/* Makes a sentence of a text's first line, with a capital letter and a full stop. */
static void trouble_sentence(char *to, unsigned long size, const char *text) {
    size_t length = strcspn(text, "\r\n");

    if (length + 2 > size)
        length = size - 2;
    memcpy(to, text, length);
    while (length > 0 && (to[length - 1] == ' ' || to[length - 1] == '\t'))
        length--;
    to[length] = '\0';
    if (begins_with_word(to))
        to[0] = (char)toupper((unsigned char)to[0]);
    if (length > 0 && strchr(".!?", to[length - 1]) == NULL)
        memcpy(to + length, ".", 2);
}

void trouble_set(trouble *t, bool passes, const char *state, const char *what, const char *remedy) {
    char whole[sizeof t->remedy];
    size_t length = remedy != NULL ? strcspn(remedy, "\r\n") : 0;

    while (length > 0 && (remedy[length - 1] == '.' || remedy[length - 1] == ' '))
        length--;
    t->passes = passes;
    snprintf(t->state, sizeof t->state, "%s", state);
    trouble_sentence(t->what, sizeof t->what, what);
    if (passes && length > 0)
        snprintf(whole, sizeof whole, "%.*s; " AGAIN, (int)length, remedy);
    else if (passes)
        snprintf(whole, sizeof whole, "There is nothing to do: " AGAIN);
    else
        snprintf(whole, sizeof whole, "%s", length > 0 ? remedy : "Tell your instructor");
    trouble_sentence(t->remedy, sizeof t->remedy, whole);
    snprintf(t->text, sizeof t->text, "%s\n%s", t->what, t->remedy);
}

void trouble_of_server(trouble *t, const char *state, const char *message, const char *hint,
                       sqlstate_known known) {
    sqlstate_advice advice = sqlstate_advise(state, known);
    bool own_hint = hint != NULL && hint[0] != '\0' && !advice.remedy_is_ours;

    trouble_set(t, !advice.final, state, advice.what != NULL ? advice.what : message,
                own_hint ? hint : advice.remedy);
}
