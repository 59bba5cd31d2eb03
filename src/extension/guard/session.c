/*
 * session.c - what a student's session begins with: settings, and a bound of memory
 *
 * Before any hook sees a statement, PostgreSQL has read the message, parsed it and run the input
 * functions of its constants. A message may have 1 GB, and its parse tree fifty times that. So the
 * operating system bounds what the process may take: the allocation that goes over it is an error
 * of that session, "out of memory". The time that it takes is reading.c's affair.
 */
#include "../module/module.h"
#include "guard.h"

/* Else libpq-be.h asks for Kerberos' headers. struct Port has the same layout without (its comments
 * promise that to extensions). */
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

/* What students' sessions begin with, whatever the database or the login says: what PostgreSQL
 * takes from the start of a connection goes before ALTER DATABASE and ALTER ROLE. */
static const char *const imposed[][2] = {
    {"jit", "off"}, /* compiles for minutes, and looks at no interrupt meanwhile */
    /* What the protocol's statements are written for. */
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_deferrable", "off"},
    {"standard_conforming_strings", "on"},
    {"transform_null_equals", "off"},
    {"row_security", "on"},
    {"extra_float_digits", "1"}, /* what is read back has the same bits */
    /* The watchdog is the limit: these would end an upload over a slow line. */
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
};

/* Keeps of the settings that a connection asks for those that change nothing here, and adds
 * ours. */
static List *chosen_settings(List *asked) {
    List *kept = NIL;

    for (int i = 0; i + 1 < list_length(asked); i += 2)
        if (gan_is_harmless_setting(list_nth(asked, i)))
            kept = lappend(lappend(kept, list_nth(asked, i)), list_nth(asked, i + 1));
    for (size_t i = 0; i < lengthof(imposed); i++)
        kept = lappend(lappend(kept, pstrdup(imposed[i][0])), pstrdup(imposed[i][1]));
    return kept;
}

/* Not an error where a student asks for more: libpq sends some settings from the environment
 * without being asked. */
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

/* Half of the bound: a statement that begins has room to do its work. */
void gan_check_session_memory(void) {
    const Size limit = (Size)memory_mb << 19;

    if (memory_mb > 0 && MemoryContextMemAllocated(TopMemoryContext, true) > limit)
        ereport(FATAL, (errcode(ERRCODE_OUT_OF_MEMORY),
                        errmsg("this session holds more than %zu MB of memory", limit >> 20),
                        errhint("Prepare fewer statements, and send smaller parameters.")));
}

void gan_session_init(const bool *guard_on) {
    guarded = guard_on;
    DefineCustomIntVariable("gannsfriends.student_memory",
                            "Bounds the memory that a student's session takes. 0: no bound.", NULL,
                            &memory_mb, 128, 0, 65536, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
    next_authentication = ClientAuthentication_hook;
    ClientAuthentication_hook = begin_session;
}
