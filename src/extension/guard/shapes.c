/*
 * shapes.c - the forms that a student's statement may have
 *
 * There are two, and a few commands:
 *
 *     SELECT f(arguments)
 *     SELECT columns FROM f(arguments)
 *
 * where f is a function of the protocol and each argument is a parameter or a constant. Everything
 * else is refused, so we need not think of every statement that could burn time, take memory or
 * reveal a secret.
 */
#include "../run/run.h"
#include "guard.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include <ctype.h>

/* Tells whether a function is one of the protocol's: it runs as gan_owner, and students may execute
 * it. */
static bool is_protocol(Oid function) {
    HeapTuple row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    bool is;

    if (!HeapTupleIsValid(row))
        return false;
    is = ((Form_pg_proc)GETSTRUCT(row))->prosecdef &&
         ((Form_pg_proc)GETSTRUCT(row))->proowner == get_role_oid("gan_owner", true) &&
         pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK;
    ReleaseSysCache(row);
    return is;
}

/* Tells whether an argument is a parameter or a constant. The parser has made it one of the
 * argument's own type: a cast to another type would be a node of its own. */
static bool is_plain(const Node *argument) {
    if (IsA(argument, NamedArgExpr))
        argument = (Node *)((NamedArgExpr *)argument)->arg;
    return IsA(argument, Const) ||
           (IsA(argument, Param) && ((Param *)argument)->paramkind == PARAM_EXTERN);
}

/* Tells whether an expression is a call of the protocol. */
static bool is_call(const Node *node) {
    const FuncExpr *call = (FuncExpr *)node;
    ListCell *argument;

    if (!node || !IsA(node, FuncExpr) || call->funcformat != COERCE_EXPLICIT_CALL ||
        call->funcvariadic)
        return false;
    foreach (argument, call->args)
        if (!is_plain(lfirst(argument)))
            return false;
    return is_protocol(call->funcid);
}

/* Tells whether a query has nothing but columns and a FROM: none of the clauses that Query
 * knows. */
static bool is_bare(const Query *q) {
    return q->commandType == CMD_SELECT && !q->hasAggs && !q->hasWindowFuncs && !q->hasSubLinks &&
           !q->cteList && !q->setOperations && !q->jointree->quals && !q->groupClause &&
           !q->groupingSets && !q->havingQual && !q->windowClause && !q->distinctClause &&
           !q->sortClause && !q->limitOffset && !q->limitCount && !q->rowMarks && !q->hasForUpdate;
}

/* Tells whether the FROM is one call and nothing else. */
static bool is_from_call(const Query *q) {
    const RangeTblEntry *source;

    if (list_length(q->rtable) != 1 || list_length(q->jointree->fromlist) != 1 ||
        !IsA(linitial(q->jointree->fromlist), RangeTblRef))
        return false;
    source = linitial(q->rtable);
    return source->rtekind == RTE_FUNCTION && !source->lateral && !source->funcordinality &&
           !source->tablesample && list_length(source->functions) == 1 &&
           is_call(((RangeTblFunction *)linitial(source->functions))->funcexpr);
}

/* Tells whether a query is one call of the protocol, in one of the two shapes. */
bool gan_is_call(const Query *q) {
    ListCell *target;

    if (!is_bare(q))
        return false;
    if (!q->rtable)
        return list_length(q->targetList) == 1 &&
               is_call((Node *)((TargetEntry *)linitial(q->targetList))->expr);
    foreach (target, q->targetList) {
        const Node *column = (Node *)((TargetEntry *)lfirst(target))->expr;
        if (!IsA(column, Var) || ((Var *)column)->varattno <= 0)
            return false;
    }
    return is_from_call(q);
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

/* Tells whether a command is one that gan_worker, or a pooler between it and the server, sends. It
 * must not look into the catalog: the transaction may have failed. */
bool gan_is_allowed_command(const Node *command) {
    switch (nodeTag(command)) {
    case T_ListenStmt:
        return is_channel(((ListenStmt *)command)->conditionname);
    case T_UnlistenStmt: /* these concern only the session: */
    case T_DeallocateStmt:
    case T_DiscardStmt: /* a pooler's, between two clients */
        return true;
    case T_VariableShowStmt: /* an older libpq's, where the connection string has several hosts */
        return strcmp(((VariableShowStmt *)command)->name, "transaction_read_only") == 0;
    case T_VariableSetStmt: {
        const VariableSetStmt *set = (VariableSetStmt *)command;
        return set->kind == VAR_SET_VALUE && !set->is_local && gan_is_harmless_setting(set->name);
    }
    default:
        return false;
    }
}

/* Tells whether a student may set this: a name in the list of sessions, and how texts travel. */
bool gan_is_harmless_setting(const char *name) {
    return pg_strcasecmp(name, "application_name") == 0 ||
           pg_strcasecmp(name, "client_encoding") == 0;
}
