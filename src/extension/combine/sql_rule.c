/*
 * sql_rule.c - a rule that the class has written: an SQL function that is called tile by tile
 *
 *     my_rule(numbers float8[accounts][count], share float8[accounts]) RETURNS float8[count]
 *
 * Its author need not be trusted. It runs as gan_nobody, a role without rights, in a
 * security-restricted operation and a read-only subtransaction, with a limit of time for each tile
 * and a limit of memory. It may use numbers, arrays of numbers and PostgreSQL's own IMMUTABLE
 * functions. So the same numbers give the same answer when gan_verify calls it again, and it can't
 * call anything that could outlast the time limit (a PL/pgSQL function can catch the error; XPath
 * and long numerics never check for interrupts). If it fails for any reason, the step uses the
 * run's fallback rule (step.c).
 */
#include "combine.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/timeout.h"

#include <math.h>

#define MEMORY ((uint64)256 << 20) /* bytes that a call may take */
#define REASON 500                 /* bytes that are kept of an error */

/* The state of such a rule. */
typedef struct sql_rule {
    const gan_run *run;
    FmgrInfo function; /* fn_oid is 0 until it is looked up */
    size_t accounts;
    Datum share;          /* float8[accounts]: of the images; they sum to 1 */
    MemoryContext memory; /* of one call */
    uint64 memory_bound;  /* of the process, before the call; 0: there is no call */
    char *failure;        /* what went wrong; null: nothing so far */
} sql_rule;

/* ---- its time ---- */

static volatile sig_atomic_t time_is_up;

/* A signal handler: cancels what runs, as statement_timeout does. */
static void end_of_time(void) {
    time_is_up = true;
    QueryCancelPending = true;
    InterruptPending = true;
    SetLatch(MyLatch);
}

static TimeoutId our_timeout(void) {
    static bool registered;
    static TimeoutId timeout;

    if (!registered)
        timeout = RegisterTimeout(USER_TIMEOUT, end_of_time);
    registered = true;
    return timeout;
}

/* ---- what it may use ---- */

/* Tells whether values of a type are numbers, truths, or arrays of these. */
static bool is_number(Oid type) {
    switch (type) {
    case BOOLOID:
    case BOOLARRAYOID:
    case INT2OID:
    case INT2ARRAYOID:
    case INT4OID:
    case INT4ARRAYOID:
    case INT8OID:
    case INT8ARRAYOID:
    case FLOAT4OID:
    case FLOAT4ARRAYOID:
    case FLOAT8OID:
    case FLOAT8ARRAYOID:
        return true;
    default:
        return false;
    }
}

/* The same of what a function takes or returns: whatever it is called with, or its own. */
static bool may_pass(Oid type) {
    return is_number(type) || IsPolymorphicType(type) || type == NUMERICOID ||
           type == INTERNALOID || type == ANYOID || type == VOIDOID;
}

/* Raises an error if a rule may not call a function. */
static void check_function(Oid function) {
    int count, numerics = 0;
    Oid *types, result = get_func_signature(function, &types, &count);
    bool fine = function < FirstNormalObjectId &&
                func_volatile(function) == PROVOLATILE_IMMUTABLE && may_pass(result);

    for (int i = 0; i < count; i++) {
        fine = fine && may_pass(types[i]);
        numerics += types[i] == NUMERICOID;
    }
    if (numerics > 0 && result == NUMERICOID) /* may take minutes, and asks for no interrupts */
        fine = false;
    if (!fine)
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("it uses the function %s: not IMMUTABLE, not PostgreSQL's own, or "
                               "of other types than float8, integers and booleans",
                               format_procedure(function))));
}

static object_access_hook_type next_access;

/* The hook of everything that is executed while the rule runs, however it is called: this includes
 * the CHECK of a domain, which no plan shows. */
static void access_checked(ObjectAccessType access, Oid class, Oid object, int part, void *more) {
    if (next_access)
        next_access(access, class, object, part, more);
    if (access == OAT_FUNCTION_EXECUTE)
        check_function(object);
}

static bool is_forbidden_function(Oid function, void *context) {
    (void)context;
    check_function(function);
    return false;
}

static void refuse(const char *what) {
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("it uses %s", what)));
}

/* Raises an error at anything that may give another answer tomorrow, or that does more than compute
 * with numbers. */
static bool check_node(Node *node, void *context) {
    if (!node)
        return false;
    if (IsA(node, Query)) {
        Query *query = (Query *)node;
        ListCell *cell;
        if (query->commandType != CMD_SELECT)
            refuse("a statement other than SELECT");
        foreach (cell, query->rtable)
            if (((RangeTblEntry *)lfirst(cell))->rtekind == RTE_RELATION)
                refuse("a table");
        return query_tree_walker(query, check_node, context, 0);
    }
    if (IsA(node, SQLValueFunction))
        refuse("the clock or the current user");
    if (IsA(node, CoerceViaIO) || IsA(node, CoerceToDomain) || IsA(node, XmlExpr) ||
        IsA(node, TableFunc) || IsA(node, NextValueExpr))
        refuse("texts, domains, XML or sequences");
    if (IsA(node, Const) && !((Const *)node)->constisnull &&
        !is_number(((Const *)node)->consttype) && ((Const *)node)->consttype != NUMERICOID)
        refuse("a constant that is not a number");
    (void)check_functions_in_node(node, is_forbidden_function, NULL);
    return expression_tree_walker(node, check_node, context);
}

static planner_hook_type next_planner;

/* The planner's hook while the rule runs: sees every statement of it. */
static PlannedStmt *plan_checked(Query *query, const char *text, int options,
                                 ParamListInfo parameters) {
    check_node((Node *)query, NULL);
    return (next_planner ? next_planner : standard_planner)(query, text, options, parameters);
}

/* ---- calling it ---- */

/* A call: the rows in, one out. */
typedef struct call {
    size_t count;
    Datum rows;  /* float8[accounts][count] */
    double most; /* the largest of their absolute values */
    double *one; /* [count] */
} call;

static void set_option(const char *name, const char *value) {
    (void)set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Looks the function up; an error if it doesn't exist any more or has changed. */
static void look_up(sql_rule *r, MemoryContext context) {
    static gan_statement find = {"SELECT gan_rule_function($1)", 1, {TEXTOID}};

    gan_run_statement(&find, (Datum[]){CStringGetTextDatum(r->run->sql_rule)});
    fmgr_info_cxt(DatumGetObjectId(gan_value(0, 1, NULL)), &r->function, context);
}

/* Copies the result; an error unless it is what a rule must return. No number may be larger than
 * the accounts' largest: such a step could fail, and an innocent account would be blamed for it. */
static void take_answer(Datum answer, bool null, const call *c) {
    ArrayType *array = null ? NULL : DatumGetArrayTypeP(answer);
    const double *x;

    if (!array || ARR_NDIM(array) != 1 || (size_t)ARR_DIMS(array)[0] != c->count ||
        array_contains_nulls(array))
        ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
                        errmsg("it did not return %zu numbers, one for each of the tile's, and no "
                               "null among them",
                               c->count)));
    x = (const double *)ARR_DATA_PTR(array);
    for (size_t j = 0; j < c->count; j++) {
        c->one[j] = x[j] + 0.0; /* no negative zero */
        if (!(fabs(x[j]) <= c->most * (1 + 1e-6)))
            ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                            errmsg("it returned %g, the largest of the accounts' numbers is %g",
                                   x[j], c->most)));
    }
}

/* Ends the limits of a call. */
static void stop_watching(sql_rule *r) {
    disable_timeout(our_timeout(), false);
    if (planner_hook == plan_checked)
        planner_hook = next_planner;
    if (object_access_hook == access_checked)
        object_access_hook = next_access;
    gan_free_memory(r->memory_bound);
    r->memory_bound = 0;
}

/* Calls the function without rights and with little time; passes on its errors. */
static void call_function(sql_rule *r, const call *c) {
    LOCAL_FCINFO(info, 2);
    Oid user, nobody = get_role_oid("gan_nobody", false);
    int security, level = NewGUCNestLevel();
    Datum answer;

    set_option("search_path", "pg_catalog, pg_temp");
    set_option("jit", "off");
    set_option("max_parallel_workers_per_gather", "0");
    set_option("work_mem", "16MB");
    set_option("temp_file_limit", "1GB");
    set_option("extra_float_digits", "1");
    GetUserIdAndSecContext(&user, &security);
    SetUserIdAndSecContext(nobody,
                           security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
    XactReadOnly = true; /* until the subtransaction ends */
    InitFunctionCallInfoData(*info, &r->function, 2, InvalidOid, NULL, NULL);
    info->args[0] = (NullableDatum){c->rows, false};
    info->args[1] = (NullableDatum){r->share, false};
    r->memory_bound = gan_bound_memory(MEMORY);
    next_planner = planner_hook;
    planner_hook = plan_checked;
    next_access = object_access_hook;
    object_access_hook = access_checked;
    enable_timeout_after(our_timeout(), (int)ceil(r->run->rule_seconds * 1000));
    answer = FunctionCallInvoke(info);
    stop_watching(r);
    take_answer(answer, info->isnull, c);
    SetUserIdAndSecContext(user, security);
    AtEOXact_GUC(false, level);
}

/* Stores why a call failed. A call that somebody else has cancelled is not the rule's failure. */
static void note_failure(sql_rule *r, ErrorData *error) {
    if (!time_is_up && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
        ReThrowError(error);
    if (!time_is_up)
        r->failure = pnstrdup(error->message,
                              pg_mbcliplen(error->message, (int)strlen(error->message), REASON));
    FreeErrorData(error);
}

/* Calls the function in a subtransaction, so that any error ends there; tells whether it
 * succeeded. */
static bool attempt(sql_rule *r, const call *c) {
    MemoryContext caller = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;

    time_is_up = false;
    BeginInternalSubTransaction(NULL);
    MemoryContextSwitchTo(r->memory);
    PG_TRY();
    {
        if (!OidIsValid(r->function.fn_oid))
            look_up(r, caller);
        call_function(r, c);
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(caller);
        CurrentResourceOwner = owner;
    }
    PG_CATCH();
    {
        ErrorData *error;

        stop_watching(r);
        MemoryContextSwitchTo(caller);
        error = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(caller);
        CurrentResourceOwner = owner;
        note_failure(r, error);
    }
    PG_END_TRY();
    if (time_is_up) {
        QueryCancelPending = false; /* the signal may have come just after the end */
        r->failure = psprintf("it took longer than %g s for a tile", r->run->rule_seconds);
    }
    MemoryContextReset(r->memory);
    return !r->failure;
}

/* ---- as a rule like the others ---- */

/* Makes a float8 array without values yet; at points to them. */
static Datum new_array(int dimensions, size_t rows, size_t columns, double **at) {
    Size size = ARR_OVERHEAD_NONULLS(dimensions) + rows * columns * sizeof(double);
    ArrayType *array = palloc_extended(size, MCXT_ALLOC_HUGE);

    SET_VARSIZE(array, size);
    array->ndim = dimensions;
    array->dataoffset = 0;
    array->elemtype = FLOAT8OID;
    ARR_DIMS(array)[0] = (int)rows;
    if (dimensions == 2)
        ARR_DIMS(array)[1] = (int)columns;
    for (int i = 0; i < dimensions; i++)
        ARR_LBOUND(array)[i] = 1;
    *at = (double *)ARR_DATA_PTR(array);
    return PointerGetDatum(array);
}

static size_t memory(size_t accounts) {
    (void)accounts;
    return sizeof(sql_rule);
}

/* Computes the accounts' shares of the images. */
static void begin(void *memory, const dcgan_round *round) {
    sql_rule *r = memory;
    double *share, total = 0;

    r->accounts = round->accounts;
    r->share = new_array(1, round->accounts, 1, &share);
    dcgan_images_of_accounts(round, share);
    for (size_t a = 0; a < round->accounts; a++)
        total += share[a];
    for (size_t a = 0; a < round->accounts; a++)
        share[a] /= total;
}

static bool tile(void *memory, real *one, const real *rows, size_t stride, size_t count) {
    sql_rule *r = memory;
    call c = {.count = count};
    double *x;

    c.rows = new_array(2, r->accounts, count, &x);
    c.one = palloc(count * sizeof *c.one);
    for (size_t a = 0; a < r->accounts; a++)
        for (size_t j = 0; j < count; j++) {
            x[a * count + j] = (double)rows[a * stride + j];
            c.most = fmax(c.most, fabs(x[a * count + j]));
        }
    if (!attempt(r, &c))
        return false;
    for (size_t j = 0; j < count; j++)
        one[j] = (real)c.one[j];
    pfree(c.one);
    pfree(DatumGetPointer(c.rows));
    return true;
}

static bool tile_of_sums(void *memory, double *one, const double *rows, size_t count) {
    sql_rule *r = memory;
    call c = {.count = count, .one = one};
    double *x;

    c.rows = new_array(2, r->accounts, count, &x);
    memcpy(x, rows, r->accounts * count * sizeof *x);
    for (size_t k = 0; k < r->accounts * count; k++)
        c.most = fmax(c.most, fabs(x[k]));
    return attempt(r, &c);
}

const dcgan_rule gan_sql_rule = {
    .name = "sql",
    .meaning = "a function of the class's own",
    .weigh = dcgan_weigh_within_account,
    .tile_memory = memory,
    .tile_begin = begin,
    .tile = tile,
    .tile_of_sums = tile_of_sums,
};

/* Tells the rule which run it belongs to, before it begins. */
void gan_sql_rule_open(void *memory, const gan_run *run) {
    sql_rule *r = memory;

    memset(r, 0, sizeof *r);
    r->run = run;
    r->memory =
        AllocSetContextCreate(CurrentMemoryContext, "a rule in SQL", ALLOCSET_DEFAULT_SIZES);
}

/* Returns why the rule failed. */
const char *gan_sql_rule_failure(const void *memory) {
    return ((const sql_rule *)memory)->failure;
}
