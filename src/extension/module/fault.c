/*
 * fault.c - makes a backend fail at a point that a test chooses; empty in the installed library
 *
 * SET gann_test.fault = 'POINT:ACTION[:N]': when POINT is passed for the N-th time (the first),
 * error; term, as pg_terminate_backend does; kill, that is SIGKILL to itself; or wait, while
 * somebody holds advisory lock 4711. SET gann_test.fail_alloc = 'N': the N-th allocation that the
 * extension asks for fails. SET gann_test.fail_statement = 'N': the N-th SQL statement fails,
 * including statements inside functions.
 *
 * Settings are read where they are needed, so nothing must be defined when the library is loaded.
 * Counting begins again whenever a setting changes. The linker redirects the extension's
 * allocations to this file (--wrap in the Makefile).
 */
#include "module.h"

#ifdef GANN_FAULTS

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

#include <signal.h>

/* A setting, and how many events it has counted since it was set. */
typedef struct counter {
    const char *name;
    char text[64];
    int count;
} counter;

static counter faults = {.name = "gann_test.fault"}, allocations = {.name = "gann_test.fail_alloc"},
               statements = {.name = "gann_test.fail_statement"};
static ExecutorStart_hook_type previous_start;
static ProcessUtility_hook_type previous_utility;

/* Returns a setting, "" if there is none. */
static const char *setting(counter *c) {
    const char *text = GetConfigOption(c->name, true, false);

    if (!text)
        text = "";
    if (strcmp(text, c->text) != 0) {
        strlcpy(c->text, text, sizeof c->text);
        c->count = 0;
    }
    return c->text;
}

/* Counts an event, and tells whether it is the one that the setting names. */
static bool is_due(counter *c) {
    const char *text = setting(c);

    return text[0] != 0 && ++c->count == atoi(text);
}

/* Carries out what a setting asks for at this point. */
static void act(const char *point, const char *action) {
    if (strncmp(action, "kill", 4) == 0)
        kill(MyProcPid, SIGKILL);
    if (strncmp(action, "term", 4) == 0)
        kill(MyProcPid, SIGTERM);
    if (strncmp(action, "error", 5) == 0)
        ereport(ERROR, (errcode(ERRCODE_IO_ERROR), errmsg("fault at %s", point)));
    if (strncmp(action, "wait", 4) == 0) {
        DirectFunctionCall1(pg_advisory_lock_shared_int8, Int64GetDatum(4711));
        DirectFunctionCall1(pg_advisory_unlock_shared_int8, Int64GetDatum(4711));
        return;
    }
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        pg_usleep(2000);
    }
}

void gan_fault(const char *point) {
    const char *text = setting(&faults), *action;
    size_t length = strlen(point);
    const char *number;

    if (strncmp(text, point, length) != 0 || text[length] != ':')
        return;
    action = text + length + 1;
    number = strchr(action, ':');
    if (++faults.count == (number ? atoi(number + 1) : 1))
        act(point, action);
}

/* The ends of a transaction are points, too. */
static void at_end(XactEvent event, void *context) {
    if (event == XACT_EVENT_PRE_COMMIT)
        gan_fault("before_commit");
    if (event == XACT_EVENT_COMMIT)
        gan_fault("committed");
    if (event == XACT_EVENT_ABORT)
        gan_fault("aborted");
}

static void fail_statement(void) {
    if (is_due(&statements))
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
                        errmsg("out of memory: statement %d", statements.count)));
}

static void start(QueryDesc *query, int flags) {
    fail_statement();
    if (previous_start)
        previous_start(query, flags);
    else
        standard_ExecutorStart(query, flags);
}

static void utility(PlannedStmt *statement, const char *text, bool read_only,
                    ProcessUtilityContext context, ParamListInfo parameters,
                    QueryEnvironment *environment, DestReceiver *receiver,
                    QueryCompletion *completion) {
    if (context != PROCESS_UTILITY_TOPLEVEL)
        fail_statement();
    if (previous_utility)
        previous_utility(statement, text, read_only, context, parameters, environment, receiver,
                         completion);
    else
        standard_ProcessUtility(statement, text, read_only, context, parameters, environment,
                                receiver, completion);
}

/* Runs when the library is loaded, and leaves _PG_init to others. */
__attribute__((constructor)) static void load(void) {
    previous_start = ExecutorStart_hook;
    ExecutorStart_hook = start;
    previous_utility = ProcessUtility_hook;
    ProcessUtility_hook = utility;
    RegisterXactCallback(at_end, NULL);
}

static void fail_allocation(void) {
    if (is_due(&allocations))
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
                        errmsg("out of memory: allocation %d", allocations.count)));
}

/* The linker's --wrap replaces the extension's calls by these. */
extern void *__real_palloc(Size size);
extern void *__real_palloc0(Size size);
extern void *__real_palloc_extended(Size size, int flags);
extern void *__real_MemoryContextAlloc(MemoryContext context, Size size);
extern HeapTuple __real_heap_form_tuple(TupleDesc descriptor, Datum *values, bool *nulls);
extern void *__wrap_palloc(Size size);
extern void *__wrap_palloc0(Size size);
extern void *__wrap_palloc_extended(Size size, int flags);
extern void *__wrap_MemoryContextAlloc(MemoryContext context, Size size);
extern HeapTuple __wrap_heap_form_tuple(TupleDesc descriptor, Datum *values, bool *nulls);

void *__wrap_palloc(Size size) {
    fail_allocation();
    return __real_palloc(size);
}

void *__wrap_palloc0(Size size) {
    fail_allocation();
    return __real_palloc0(size);
}

void *__wrap_palloc_extended(Size size, int flags) {
    fail_allocation();
    return __real_palloc_extended(size, flags);
}

void *__wrap_MemoryContextAlloc(MemoryContext context, Size size) {
    fail_allocation();
    return __real_MemoryContextAlloc(context, size);
}

HeapTuple __wrap_heap_form_tuple(TupleDesc descriptor, Datum *values, bool *nulls) {
    fail_allocation();
    return __real_heap_form_tuple(descriptor, values, nulls);
}

#endif
