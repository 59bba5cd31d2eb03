/*
 * session.c - gives a student's session its settings and a memory limit when it begins
 *
 * Before any hook sees a statement, PostgreSQL has read the message, parsed it and run the input
 * functions of its constants. A message may have 1 GB, and its parse tree fifty times as much. So
 * the operating system limits the memory of the process: an allocation beyond the limit is an error
 * of that session, "out of memory". reading.c limits the time.
 */
#include "../module/module.h"
#include "guard.h"

/* Without this libpq-be.h needs Kerberos' headers. struct Port has the same layout either way (its
 * comments promise that to extensions). */
#undef ENABLE_GSS

#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include <stdio.h>
#include <unistd.h>

static int memory_mb = 128; /* gannsfriends.student_memory; gan_worker's sessions take 20 */
static const bool *guarded;
static ClientAuthentication_hook_type next_authentication;

/* The settings of students' sessions. They override those of the database and the login, because
 * settings from the start of a connection go before ALTER DATABASE and ALTER ROLE. */
static const char *const imposed[][2] = {
    {"jit", "off"}, /* would compile for minutes without a check for interrupts */
    /* The protocol's statements need these. */
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_deferrable", "off"},
    {"standard_conforming_strings", "on"},
    {"transform_null_equals", "off"},
    {"row_security", "on"},
    {"extra_float_digits", "1"}, /* what is read back has the same bits */
    /* The watchdog sets the limit: these would end an upload over a slow line. */
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
};

/* Keeps only those settings of the connection that are harmless here, and adds ours. */
static List *chosen_settings(List *asked) {
    List *kept = NIL;

    for (int i = 0; i + 1 < list_length(asked); i += 2)
        if (gan_is_harmless_setting(list_nth(asked, i)))
            kept = lappend(lappend(kept, list_nth(asked, i)), list_nth(asked, i + 1));
    for (size_t i = 0; i < lengthof(imposed); i++)
        kept = lappend(lappend(kept, pstrdup(imposed[i][0])), pstrdup(imposed[i][1]));
    return kept;
}

/* Other settings are dropped without an error: libpq sends some from the environment by itself. */
static void begin_session(Port *port, int status) {
    if (next_authentication)
        next_authentication(port, status);
    if (status == STATUS_OK && *guarded && gan_is_student(get_role_oid(port->user_name, true))) {
        MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);
        port->cmdline_options = NULL;
        port->guc_options = chosen_settings(port->guc_options);
        MemoryContextSwitchTo(before);
        if (memory_mb > 0)
            (void)gan_bound_memory((uint64)memory_mb << 20);
        gan_bound_reading();
        gan_bound_dying();
    }
}

/* Half of the limit, so that a statement that begins has room to do its work. */
void gan_check_session_memory(void) {
    const Size limit = (Size)memory_mb << 19;

    if (memory_mb > 0 && MemoryContextMemAllocated(TopMemoryContext, true) > limit)
        ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY),
                        errmsg("this session holds more than %zu MB of memory", limit >> 20),
                        errhint("Prepare fewer statements and send smaller parameters.")));
}

void gan_session_init(const bool *guard_on) {
    guarded = guard_on;
    DefineCustomIntVariable("gannsfriends.student_memory",
                            "Limits the memory of a student's session. 0: no limit.", NULL,
                            &memory_mb, 128, 0, 65536, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
    next_authentication = ClientAuthentication_hook;
    ClientAuthentication_hook = begin_session;
}
