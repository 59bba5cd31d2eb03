/*
 * guard.c - what a student's statement may be
 *
 * PostgreSQL can't take from a login what belongs to everybody: settings of the session, advisory locks,
 * channels, open transactions, ready-made functions that burn time or memory. Rights on the database can be
 * revoked (gan_doctor says how), settings can't. So where the server loads this library at its start, four
 * hooks let a student's session do what gan_worker does and nothing else: call the worker's functions, listen
 * on a run's channel. Other sessions, and what those functions do inside, are not looked at.
 */
#include "gannsfriends.h"
#include "guard.h"

/* Else libpq-be.h asks for Kerberos' headers. struct Port has the same layout without (its comments promise
 * that to extensions). */
#undef ENABLE_GSS

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include <ctype.h>

static bool guard_on = true; /* gannsfriends.guard */
static bool loaded;
static post_parse_analyze_hook_type next_analyze;
static ProcessUtility_hook_type next_utility;
static object_access_hook_type next_access;
static ClientAuthentication_hook_type next_authentication;

bool gan_is_student(Oid role) {
    Oid students = get_role_oid("gan_student", true), owner = get_role_oid("gan_owner", true);

    return OidIsValid(students) && is_member_of_role_nosuper(role, students) && !superuser_arg(role) &&
           !(OidIsValid(owner) && is_member_of_role_nosuper(role, owner));
}

/* Tells whether what runs now is a student's own statement, not the inside of a function that runs as its
 * owner. */
static bool is_guarded(void) {
    Oid students;

    if (!guard_on || MyBackendType != B_BACKEND || !IsTransactionState())
        return false;
    students = get_role_oid("gan_student", true);
    return OidIsValid(students) && is_member_of_role_nosuper(GetUserId(), students) &&
           gan_is_student(GetSessionUserId());
}

static void pg_attribute_noreturn() refuse(const char *what) {
    ereport(ERROR,
            (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
             errmsg("a student may call the worker's functions and nothing else"),
             errdetail("The statement %s.", what),
             errhint("docs/protocol.md lists them. Whoever needs more must not be a member of gan_student.")));
}

/* Tells whether a student's statement may call a function: it is one of the extension's that run as gan_owner
 * and that students may execute, or one of the few harmless ones that gan_worker and its like need around them.
 */
static bool may_call(Oid function) {
    static const Oid harmless[] = {F_ENCODE,
                                   F_DECODE,
                                   F_LENGTH_BYTEA,
                                   F_LENGTH_TEXT,
                                   F_OCTET_LENGTH_BYTEA,
                                   F_OCTET_LENGTH_TEXT,
                                   F_SHA256,
                                   F_TO_REGROLE,
                                   F_VERSION,
                                   F_PG_HAS_ROLE_NAME_TEXT,
                                   F_PG_BACKEND_PID,
                                   F_CLOCK_TIMESTAMP,
                                   F_EXTRACT_TEXT_TIMESTAMPTZ};
    Form_pg_proc form;
    HeapTuple row;
    bool may;

    for (size_t i = 0; i < lengthof(harmless); i++)
        if (function == harmless[i])
            return true;
    row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(row))
        return false;
    form = (Form_pg_proc)GETSTRUCT(row);
    may = form->prosecdef && form->proowner == get_role_oid("gan_owner", true) &&
          pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) ==
              ACLCHECK_OK; /* of NULL it would not be called, so not be asked for */
    ReleaseSysCache(row);
    return may;
}

static bool is_forbidden(Oid function, void *context) {
    (void)context;
    if (!may_call(function)) {
        const char *name = get_func_name(function);
        refuse(psprintf("calls function %s", name ? name : "that is gone"));
    }
    return false;
}

/* Refuses all that a query may not be made of; one source of rows at each level, so that no short text makes
 * many rows. */
static void check_level(const Query *query) {
    if (query->commandType != CMD_SELECT || query->hasModifyingCTE || query->rowMarks != NIL)
        refuse("writes, or locks rows");
    if (query->hasRecursive)
        refuse("is recursive");
    if (query->jointree && list_length(query->jointree->fromlist) > 1)
        refuse("joins");
    if (query->hasSubLinks)
        refuse("holds a query in an expression");
    if (query->hasTargetSRFs && query->jointree && query->jointree->fromlist != NIL)
        refuse("makes rows for rows");
}

static void check_source(const RangeTblEntry *source) {
    char *name;

    switch (source->rtekind) {
    case RTE_FUNCTION: /* the function itself is an expression */
    case RTE_SUBQUERY:
    case RTE_VALUES:
    case RTE_CTE:
    case RTE_RESULT:
        return;
    case RTE_RELATION:
        name = get_rel_name(source->relid);
        refuse(psprintf("reads relation %s", name ? name : "that is gone"));
    default:
        refuse("joins, or makes a table of something else");
    }
}

static bool check_node(Node *node, void *context) {
    if (!node)
        return false;
    if (IsA(node, Query)) {
        check_level((Query *)node);
        return query_tree_walker((Query *)node, check_node, context, QTW_EXAMINE_RTES_BEFORE);
    }
    if (IsA(node, RangeTblEntry)) {
        check_source((RangeTblEntry *)node);
        return false; /* its expressions come by themselves */
    }
    if (IsA(node, XmlExpr) || IsA(node, NextValueExpr))
        refuse("holds XML or a sequence");
    if (IsA(node, FuncExpr)) {
        const FuncExpr *call = (FuncExpr *)node;
        bool cast = call->funcformat == COERCE_EXPLICIT_CAST || call->funcformat == COERCE_IMPLICIT_CAST;
        if (!cast || call->funcid >= FirstNormalObjectId)
            (void)is_forbidden(call->funcid, context);
    } else if (!IsA(node, CoerceViaIO))
        (void)check_functions_in_node(node, is_forbidden, context);
    return expression_tree_walker(node, check_node, context);
}

/* Ends a session that piles up statements it has prepared: nothing else limits them. Looked at now and then, as
 * there may be many contexts. */
static void check_memory(void) {
    static unsigned statements;
    const Size limit = (Size)512 << 20; /* gan_worker's sessions take 20 MB */

    if (++statements % 16 == 0 && MemoryContextMemAllocated(TopMemoryContext, true) > limit)
        ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY),
                        errmsg("this session holds more than %zu MB of memory", limit >> 20),
                        errhint("Prepare fewer statements.")));
}

static void guard_analyze(ParseState *state, Query *query, JumbleState *jumble) {
    if (query->commandType != CMD_UTILITY && is_guarded()) { /* those come to guard_utility */
        check_memory();
        (void)check_node((Node *)query, NULL);
    }
    if (next_analyze)
        next_analyze(state, query, jumble);
}

/* Tells whether a channel is a run's: gan_run_ and a number. */
static bool is_channel(const char *name) {
    const char prefix[] = "gan_run_", *digit = name + sizeof prefix - 1;

    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || *digit == '\0')
        return false;
    while (isdigit((unsigned char)*digit))
        digit++;
    return *digit == '\0';
}

/* Says what is wrong with a command, to follow "The statement"; NULL if nothing is. It must not look into the
 * catalog: the transaction may have failed. */
static const char *forbidden_command(Node *command) {
    switch (nodeTag(command)) {
    case T_ListenStmt:
        return is_channel(((ListenStmt *)command)->conditionname) ? NULL
                                                                  : "listens on a channel that is no run's";
    case T_UnlistenStmt:
    case T_VariableShowStmt:
    case T_DeallocateStmt:
    case T_DiscardStmt:
    case T_ClosePortalStmt:
        return NULL;
    case T_TransactionStmt:
        switch (((TransactionStmt *)command)->kind) {
        case TRANS_STMT_COMMIT:
        case TRANS_STMT_ROLLBACK:
            return NULL;
        default:
            return "opens a transaction block";
        }
    case T_VariableSetStmt: {
        const VariableSetStmt *set = (VariableSetStmt *)command;
        bool reset = set->kind == VAR_RESET || set->kind == VAR_RESET_ALL;
        bool plain = set->name &&
                     (strcmp(set->name, "application_name") == 0 || strcmp(set->name, "client_encoding") == 0);
        return reset || plain ? NULL : "changes a setting";
    }
    default:
        return "is a command";
    }
}

static void guard_utility(PlannedStmt *statement, const char *text, bool read_only,
                          ProcessUtilityContext context, ParamListInfo parameters,
                          QueryEnvironment *environment, DestReceiver *to, QueryCompletion *completion) {
    const char *wrong = forbidden_command(statement->utilityStmt);

    if (wrong && is_guarded())
        refuse(strcmp(wrong, "is a command") == 0
                   ? psprintf("is the command %s", CreateCommandName(statement->utilityStmt))
                   : wrong);
    (next_utility ? next_utility : standard_ProcessUtility)(statement, text, read_only, context, parameters,
                                                            environment, to, completion);
}

/* The protocol's function calls ("fast path") are neither parsed nor utilities; what tells them apart is that
 * no statement is under way. */
static void guard_access(ObjectAccessType access, Oid class, Oid object, int part, void *argument) {
    if (access == OAT_FUNCTION_EXECUTE && !debug_query_string && is_guarded())
        refuse("is a function call without SQL");
    if (next_access)
        next_access(access, class, object, part, argument);
}

/* Keeps of the settings that a connection asks for those that change nothing here. */
static List *harmless_settings(List *settings) {
    List *kept = NIL;

    for (int i = 0; i + 1 < list_length(settings); i += 2) {
        char *name = list_nth(settings, i);
        if (pg_strcasecmp(name, "application_name") == 0 || pg_strcasecmp(name, "client_encoding") == 0)
            kept = lappend(lappend(kept, name), list_nth(settings, i + 1));
    }
    return kept;
}

/* Drops the settings with which a student connects. Not an error: libpq sends some from the environment without
 * being asked. */
static void guard_authentication(Port *port, int status) {
    if (next_authentication)
        next_authentication(port, status);
    if (status == STATUS_OK && guard_on && gan_is_student(get_role_oid(port->user_name, true))) {
        MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
        port->cmdline_options = NULL;
        port->guc_options = harmless_settings(port->guc_options);
        MemoryContextSwitchTo(before);
    }
}

void gan_guard_init(void) {
    loaded = true;
    DefineCustomBoolVariable("gannsfriends.guard",
                             "Lets students' sessions call the worker's functions and nothing else.", NULL,
                             &guard_on, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
    DefineCustomIntVariable(
        "gannsfriends.watchdog_seconds",
        "Ends students' sessions whose transaction, or wait for the next statement, lasts longer. 0: never.",
        NULL, &gan_watchdog_seconds, 60, 0, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
    next_analyze = post_parse_analyze_hook;
    post_parse_analyze_hook = guard_analyze;
    next_utility = ProcessUtility_hook;
    ProcessUtility_hook = guard_utility;
    next_access = object_access_hook;
    object_access_hook = guard_access;
    next_authentication = ClientAuthentication_hook;
    ClientAuthentication_hook = guard_authentication;
}

PG_FUNCTION_INFO_V1(gan_guard);

/* Tells whether students' sessions are guarded: "on", "off" (by the setting) or "not loaded". */
Datum gan_guard(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(!loaded ? "not loaded" : guard_on ? "on" : "off"));
}
