/*
 * guard.h - what the server lets a student's session do; in force where shared_preload_libraries names
 * gannsfriends
 */
#ifndef GANN_GUARD_H
#define GANN_GUARD_H

#include "postgres.h"

/* Tells whether a role is a student's: a member of gan_student that is neither a superuser nor a member of
 * gan_owner. Needs a transaction. */
extern bool gan_is_student(Oid role);

/* Defines the settings and puts the hooks in place; to be called while the server starts. */
extern void gan_guard_init(void);

/* Registers the background worker that ends sessions which hoard; the same. */
extern void gan_watchdog_init(void);

/* Seconds after which a student's transaction, or a wait for the next statement, ends the session; 0: never. */
extern int gan_watchdog_seconds;

#endif
