/*
 * module.c - the module: its initialisation, and errors
 */
#include "module.h"
#include "../coordinate/coordinate.h"
#include "../guard/guard.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/* Only a library that is loaded while the server starts can watch all sessions. Everything else
 * works without that. */
void _PG_init(void) {
    if (process_shared_preload_libraries_in_progress) {
        gan_guard_init();
        gan_watchdog_init();
        gan_shared_init();
        gan_launcher_init();
    }
}

/* Turns a status of the library into an error; DCGAN_OK does nothing. */
void gan_check_status(dcgan_status status) {
    int code = status == DCGAN_NOT_FINITE       ? ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
               : status == DCGAN_TOO_LARGE      ? ERRCODE_PROGRAM_LIMIT_EXCEEDED
               : status == DCGAN_INVALID_CONFIG ? ERRCODE_INVALID_PARAMETER_VALUE
                                                : ERRCODE_INTERNAL_ERROR;

    if (status != DCGAN_OK)
        ereport(ERROR, (errcode(code), errmsg("%s", dcgan_status_text(status))));
}

/* Raises an error inside a transaction block: there, locks and rows kept for a snapshot would last
 * too long. */
void gan_refuse_block(const char *name) {
    if (IsTransactionBlock() || IsSubTransaction())
        ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                        errmsg("%s can't run inside a transaction block", name),
                        errhint("Send the statement on its own, in autocommit mode.")));
}

/* Makes this transaction commit without waiting for the disk: if a crash of the server undoes it,
 * only the work on one unit is lost. A submission does wait, and makes all earlier commits durable,
 * too. */
void gan_commit_without_waiting(void) {
    (void)set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
                            GUC_ACTION_LOCAL, true, 0, false);
}

PG_FUNCTION_INFO_V1(gan_require_autocommit);

Datum gan_require_autocommit(PG_FUNCTION_ARGS) {
    gan_refuse_block(text_to_cstring(PG_GETARG_TEXT_PP(0)));
    PG_RETURN_VOID();
}
