/*
 * sqlstate.c - the list of final errors, and the words for temporary ones
 */
#include "sqlstate.h"

#include <stddef.h>
#include <string.h>

#define NOT_THIS_DATABASE "Ask your instructor for the address: this may be the wrong database"
#define NO_CLASS "this database has no class (gannsfriends is not installed in it)"
#define OTHER_VERSION                                                                              \
    "Tell your instructor: this program has version " GANN_VERSION                                 \
    ", gannsfriends in the server has another"

typedef struct rule {
    const char *prefix;
    sqlstate_known until; /* final only as long as no more than this is known */
    sqlstate_advice advice;
} rule;

/*
 * The first rule whose prefix matches applies. Some errors are final only until the class has
 * answered: afterwards they must be temporary (a restore, an update of the extension).
 */
static const rule final_rules[] = {
    /* a wrong password stays wrong, and asking again may lock the login */
    {"28P01",
     SQLSTATE_WORK,
     {true, NULL, "Copy the whole connection string again, or ask your instructor for a new one",
      true}},
    /* the login is not let in: only a person can change that */
    {"28",
     SQLSTATE_WORK,
     {true, NULL,
      "Check the login in your connection string; if it is right, tell your instructor: "
      "pg_hba.conf does not "
      "let it in from this computer",
      true}},
    /* no such database: a mistyped name, or one that is being restored */
    {"3D000",
     SQLSTATE_CLASS,
     {true, NULL, "Check the database's name at the end of your connection string", true}},
    /* no such function, table, schema or column: another database, or another version */
    {"42883", SQLSTATE_NOTHING, {true, NO_CLASS, NOT_THIS_DATABASE, true}},
    {"42P01", SQLSTATE_NOTHING, {true, NO_CLASS, NOT_THIS_DATABASE, true}},
    {"3F000", SQLSTATE_NOTHING, {true, NO_CLASS, NOT_THIS_DATABASE, true}},
    {"42883",
     SQLSTATE_CLASS,
     {true, "the server does not know what this program asks", OTHER_VERSION, true}},
    {"42P01",
     SQLSTATE_CLASS,
     {true, "the server does not know what this program asks", OTHER_VERSION, true}},
    {"42703",
     SQLSTATE_CLASS,
     {true, "the server does not know what this program asks", OTHER_VERSION, true}},
    /* 64 programs of one login: an answer to gan_join */
    {"53400",
     SQLSTATE_CLASS,
     {true, NULL, "Start it under a name that you have used before: --name", false}},
    /* no right: the login is not a student's of this class, or did something that no student may */
    {"42501",
     SQLSTATE_WORK,
     {true, NULL, "Tell your instructor: this login is not a student of this class", false}},
    /* no such run */
    {"42704", SQLSTATE_WORK, {true, NULL, "Ask your instructor for the run's name", false}},
};

/* Classes of errors that are the statement's own fault: the same statement gets the same answer. */
static const rule final_classes[] = {
    {"42P05", SQLSTATE_WORK, {false, NULL, NULL, false}}, /* except a pooler's leftovers */
    {"23505", SQLSTATE_WORK, {false, NULL, NULL, false}}, /* and except a race for a key */
    {"23P01", SQLSTATE_WORK, {false, NULL, NULL, false}},
    /* and except objects that come back with a restore */
    {"42P01", SQLSTATE_WORK, {false, NULL, NULL, false}},
    {"42883", SQLSTATE_WORK, {false, NULL, NULL, false}},
    {"42703", SQLSTATE_WORK, {false, NULL, NULL, false}},
    /* a pooler that wraps statements in transactions */
    {"25001", SQLSTATE_WORK, {true, NULL, NULL, false}},
    {"21", SQLSTATE_WORK, {true, NULL, NULL, false}},          /* cardinality */
    {"22", SQLSTATE_WORK, {true, NULL, NULL, false}},          /* an impossible value */
    {"23", SQLSTATE_WORK, {true, NULL, NULL, false}},          /* a value that no table takes */
    {"42", SQLSTATE_WORK, {true, NULL, OTHER_VERSION, false}}, /* syntax, names, types */
    /* too large or too complex for PostgreSQL */
    {"54", SQLSTATE_WORK, {true, NULL, NULL, false}},
    {"P0", SQLSTATE_WORK, {true, NULL, NULL, false}}, /* raised by a function */
    /* raised by the class's own functions */
    {"UG", SQLSTATE_WORK, {true, NULL, NULL, false}},
};

/* Words for some temporary errors. An error in no list of this file is temporary, too, and shown
 * with the server's own words. */
static const rule passing_rules[] = {
    {"25006",
     SQLSTATE_WORK,
     {false, "the server accepts no changes at the moment: maintenance, or a failover", NULL,
      true}},
    {"53100",
     SQLSTATE_WORK,
     {false, NULL, "Tell your instructor that the server's disk is full", true}},
    {"53200",
     SQLSTATE_WORK,
     {false, NULL, "Tell your instructor that the server lacks memory", true}},
    {"53300",
     SQLSTATE_WORK,
     {false, NULL, "Tell your instructor that the server needs a higher max_connections", true}},
    {"57P01",
     SQLSTATE_WORK,
     {false, "the server has ended this session; it may be restarting", NULL, true}},
    {"57P03", SQLSTATE_WORK, {false, "the server is starting, or being restored", NULL, true}},
    {"57P04",
     SQLSTATE_WORK,
     {false, "the class's database is gone; it may be being restored", NULL, true}},
    {"57P05",
     SQLSTATE_WORK,
     {false, "the server has ended this session, which was idle", NULL, true}},
    {"3D000",
     SQLSTATE_WORK,
     {false, "the class's database is gone; it may be being restored", NULL, true}},
    {"42883",
     SQLSTATE_WORK,
     {false, "the class is gone from its database; it may be being restored", NULL, true}},
    {"42P01",
     SQLSTATE_WORK,
     {false, "the class is gone from its database; it may be being restored", NULL, true}},
    {"42703",
     SQLSTATE_WORK,
     {false, "the class is gone from its database; it may be being restored", NULL, true}},
    {"3F000",
     SQLSTATE_WORK,
     {false, "the class is gone from its database; it may be being restored", NULL, true}},
    {"58",
     SQLSTATE_WORK,
     {false, NULL, "Tell your instructor that the server's disk has a fault", false}},
    {"F0",
     SQLSTATE_WORK,
     {false, NULL, "Tell your instructor that the server's settings have a fault", false}},
    {"XX", SQLSTATE_WORK, {false, NULL, "Tell your instructor if this does not end", false}},
};

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Finds the first rule for a state; NULL if there is none. */
static const rule *find(const rule *rules, size_t count, const char *state, sqlstate_known known) {
    for (size_t i = 0; i < count; i++)
        if (known <= rules[i].until &&
            strncmp(state, rules[i].prefix, strlen(rules[i].prefix)) == 0)
            return &rules[i];
    return NULL;
}

sqlstate_advice sqlstate_advise(const char *state, sqlstate_known known) {
    const rule *fits = find(final_rules, COUNT(final_rules), state, known);
    sqlstate_advice advice = {false, NULL, NULL, false};

    if (fits == NULL)
        fits = find(final_classes, COUNT(final_classes), state, known);
    if (fits == NULL || !fits->advice.final)
        fits = find(passing_rules, COUNT(passing_rules), state, known);
    if (fits != NULL)
        advice = fits->advice;
    return advice;
}
