/*
 * coordinate.h - coordinators: which process takes care of a database's runs, and when
 *
 * A tick (tick.c) does what is due for one run. A coordinator runs rounds of ticks (round.c). It is
 * a session that calls gan_coordinate (procedure.c), by hand or by pg_cron, or, if the library is
 * preloaded, a background worker of the server (worker.c). The background worker sleeps until it is
 * woken (shared.c) by a submission, by gan_start or by anything else that makes something due. A
 * launcher (launcher.c) starts it if there is an open run, and it exits when there is none.
 */
#ifndef GAN_COORDINATE_H
#define GAN_COORDINATE_H

#include "../module/module.h"

/* What a coordinator remembers from one round to the next. */
typedef struct gan_rounds {
    const char *schema; /* of the extension, quoted */
    bool one_run;       /* it coordinates one run only */
    int32 run;
    /* ends the transaction and begins the next one; SPI is connected before and after */
    void (*next_transaction)(void);
    double clock_offset;                           /* of the time of day, when last looked at */
    double ticked_all, looked_for_hoarders, began; /* by gan_seconds() */
    bool stepped;                                  /* the last round took a step */
    bool read_only;                                /* so is the database, for now */
    int open;                                      /* runs that are neither finished nor stopped */
} gan_rounds;

/* round.c: begins to coordinate */
extern void gan_rounds_begin(gan_rounds *rounds, const char *schema);

/* round.c: looks at the runs and ticks those that are due; with every, all of them. SPI is
 * connected. */
extern void gan_round(gan_rounds *rounds, bool every);

/* Tells whether the clock was set, or the machine stood still, since the last round. */
extern bool gan_clock_has_jumped(const gan_rounds *rounds);

/* Returns a statement with the schema put in for each %s. It lives as long as the session. */
extern const char *gan_with_schema(const char *text, const char *schema);

/* clock.c: the seconds of a monotonic clock, and those that have passed in this session */
extern double gan_monotonic_seconds(void);
extern double gan_seconds(void);

/* By how many seconds the time of day is ahead of that: it changes when the clock is set and when
 * the machine was suspended. */
extern double gan_clock_offset(void);

/* Sleeps for a number of seconds, or until the latch is set. Reloads the configuration if the
 * server was told to. */
extern void gan_sleep(double seconds);

/* shared.c: defines what sessions share; to be called while the server starts */
extern void gan_shared_init(void);

/* Makes the coordinator of this database look at its runs when this transaction commits. Does
 * nothing if the library is not preloaded. */
extern void gan_ask_coordinator(void);

/* gannsfriends.coordinator: whether the server coordinates by itself */
extern bool gan_coordinator_on;

/* Tells whether this database should have a coordinator although none was requested. */
extern bool gan_coordinator_forgotten(void);

/* The launcher's side: makes this process the one that is woken when a database has no coordinator;
 * requests one for a database; chooses databases to start one for, and tells whether more need one;
 * forgets a database that was dropped. */
extern void gan_shared_launcher(void);
extern void gan_shared_ask(Oid database);
extern int gan_shared_choose(Oid *databases, int max, bool *more);
extern void gan_shared_forget(Oid database);

/* The coordinator's side: makes this process the one of a database (false: there is one already);
 * counts the requests so far; leaves, unless there was a request since, or in any case. */
extern bool gan_shared_enter(Oid database);
extern uint32 gan_shared_asked(void);
extern bool gan_shared_leave(uint32 seen);
extern void gan_shared_abandon(void);
extern void gan_shared_succeeded(void);

/* launcher.c: registers the process that starts coordinators; to be called while the server starts */
extern void gan_launcher_init(void);

#endif
