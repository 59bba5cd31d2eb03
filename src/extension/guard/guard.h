/*
 * guard.h - limits what a student's session may do, if shared_preload_libraries names gannsfriends
 */
#ifndef GANN_GUARD_H
#define GANN_GUARD_H

#include "postgres.h"

#include "nodes/parsenodes.h"

/* Tells whether a role is a student's: a member of gan_student that is neither a superuser nor a
 * member of gan_owner. Needs a transaction. */
extern bool gan_is_student(Oid role);

/* Defines the settings and puts the hooks in place; to be called while the server starts. */
extern void gan_guard_init(void);

/* Tells whether a query is one call of the protocol: SELECT f(…), or SELECT columns FROM f(…). */
extern bool gan_is_call(const Query *query);

/* Tells whether a command is one that gan_worker or a pooler sends. */
extern bool gan_is_allowed_command(const Node *command);

/* Tells whether a student may choose this setting. */
extern bool gan_is_harmless_setting(const char *name);

/* Gives students' sessions their settings and their memory limit when they begin, if *guard_on. */
extern void gan_session_init(const bool *guard_on);

/* Ends this student's session if a statement takes seconds of processor time before any hook sees
 * it. */
extern void gan_bound_reading(void);

/* Makes this student's session end soon after SIGTERM even if it waits for a client that reads no
 * answers. */
extern void gan_bound_dying(void);

/* Ends this student's session if it holds more memory than it may. */
extern void gan_check_session_memory(void);

/* Registers the background worker that ends sessions which hoard; to be called while the
 * server starts. */
extern void gan_watchdog_init(void);

/* Seconds after which a student's transaction, or a wait for the next statement, ends the session;
 * 0: never. */
extern int gan_watchdog_seconds;

#endif
