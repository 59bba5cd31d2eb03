/*
 * guard.c - refuses students' statements that are not calls of the protocol
 *
 * PostgreSQL lets every login change settings of its session, take advisory locks, use channels,
 * keep transactions open and call functions that burn time or memory. Rights on the database can be
 * revoked (gan_doctor says how), but settings can't. So if the server loads this library at its
 * start, its hooks let a student's session do only what gan_worker does: call the protocol's
 * functions and listen on a run's channel (shapes.c has the list). Other sessions, and the inside
 * of those functions, are not checked.
 */
#include "../module/module.h"
#include "guard.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/guc.h"

/* Bytes of a statement: gan_worker's have less than 1,000, because large values are parameters. */
#define TEXT_MAX 65536

static bool guard_on = true; /* gannsfriends.guard */
static bool loaded;
static post_parse_analyze_hook_type next_analyze;
static ProcessUtility_hook_type next_utility;
static object_access_hook_type next_access;
static ExecutorStart_hook_type next_start;

/* Tells whether a student's own statement is running, and not the inside of a function that runs as
 * its owner. */
static bool is_guarded(void) {
    Oid students;

    if (!guard_on || MyBackendType != B_BACKEND || !IsTransactionState())
        return false;
    students = get_role_oid("gan_student", true);
    return OidIsValid(students) && is_member_of_role_nosuper(GetUserId(), students) &&
           gan_is_student(GetSessionUserId());
}

static void pg_attribute_noreturn() refuse(const char *what) {
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("a student may call the worker's functions and nothing else"),
                    errdetail("The statement %s.", what),
                    errhint("Use gan_worker. What it sends is in docs/protocol.md.")));
}

static void check_command(Node *command) {
    if (!gan_is_allowed_command(command))
        refuse(psprintf("is the command %s", CreateCommandName(command)));
}

/* Refuses a student's statement that is neither a call of the protocol nor an allowed command.
 * Commands are checked here, too, because parsing EXPLAIN or DECLARE locks the tables that they
 * name. */
static void check_statement(const Query *query, const char *text) {
    gan_check_session_memory();
    if (strlen(text) > TEXT_MAX)
        refuse(psprintf("is longer than %d bytes", TEXT_MAX));
    if (query->commandType == CMD_UTILITY)
        check_command(query->utilityStmt);
    else if (!gan_is_call(query))
        refuse("is not one call of a function of the protocol");
}

static void guard_analyze(ParseState *state, Query *query, JumbleState *jumble) {
    if (is_guarded())
        check_statement(query, state->p_sourcetext);
    if (next_analyze)
        next_analyze(state, query, jumble);
}

static void guard_utility(PlannedStmt *statement, const char *text, bool read_only,
                          ProcessUtilityContext context, ParamListInfo parameters,
                          QueryEnvironment *environment, DestReceiver *to,
                          QueryCompletion *completion) {
    if (is_guarded())
        check_command(statement->utilityStmt);
    (next_utility ? next_utility : standard_ProcessUtility)(
        statement, text, read_only, context, parameters, environment, to, completion);
}

/* A Bind message comes here, with what its parameters take, and each portal that it leaves open. */
static void guard_start(QueryDesc *query, int flags) {
    if (is_guarded())
        gan_check_session_memory();
    (next_start ? next_start : standard_ExecutorStart)(query, flags);
}

/* Function calls of the wire protocol ("fast path") are neither parsed nor utilities; they are
 * recognised because no statement is running. */
static void guard_access(ObjectAccessType access, Oid class, Oid object, int part, void *argument) {
    if (access == OAT_FUNCTION_EXECUTE && !debug_query_string && is_guarded())
        refuse("is a function call without SQL");
    if (next_access)
        next_access(access, class, object, part, argument);
}

void gan_guard_init(void) {
    loaded = true;
    DefineCustomBoolVariable(
        "gannsfriends.guard",
        "Lets students' sessions call the worker's functions and nothing else.", NULL, &guard_on,
        true, PGC_SIGHUP, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("gannsfriends.watchdog_seconds",
                            "Ends students' sessions whose transaction, or wait for the next "
                            "statement, lasts longer. 0: never.",
                            NULL, &gan_watchdog_seconds, 60, 0, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL,
                            NULL, NULL);
    next_analyze = post_parse_analyze_hook;
    post_parse_analyze_hook = guard_analyze;
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = guard_utility;
    next_access = object_access_hook;
    object_access_hook = guard_access;
    next_start = ExecutorStart_hook;
    ExecutorStart_hook = guard_start;
    gan_session_init(&guard_on);
}

PG_FUNCTION_INFO_V1(gan_guard);

/* Tells whether students' sessions are guarded: "on", "off" (by the setting) or "not loaded". */
Datum gan_guard(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(!loaded ? "not loaded" : guard_on ? "on" : "off"));
}
