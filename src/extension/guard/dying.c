/*
 * dying.c - makes sure that a student's session that is told to end does end
 *
 * SIGTERM ends a session at its next check for interrupts. While PostgreSQL reports an error it
 * holds interrupts off, and the report waits for the client. A client that sends wrong statements
 * and never reads the answers (64 kB of them are enough) would keep its session forever, and would
 * also block a fast shutdown of the server. So SIGTERM also sets a timer here. If the session still
 * exists when the timer expires, its connection is shut down from our side: everything that waits
 * for the client fails at once, and the session ends as if the client had disconnected.
 */
#include "../module/module.h"

#include "guard.h"

/* Without this libpq-be.h needs Kerberos' headers; struct Port has the same layout either way. */
#undef ENABLE_GSS

#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#define GRACE_SECONDS 1 /* enough for a session that reads answers to end and say why */

#ifdef __linux__
static timer_t patience;

/* Both functions run as signal handlers: they call nothing but what POSIX allows there. */
static void shut_connection(SIGNAL_ARGS) {
    int saved = errno;

    if (MyProcPort)
        (void)shutdown(MyProcPort->sock, SHUT_RDWR);
    errno = saved;
}

static void end_soon(SIGNAL_ARGS) {
    const struct itimerspec grace = {.it_value = {.tv_sec = GRACE_SECONDS},
                                     .it_interval = {.tv_sec = GRACE_SECONDS}};
    int saved = errno;

    die(postgres_signal_arg);
    (void)timer_settime(patience, 0, &grace, NULL);
    errno = saved;
}

void gan_bound_dying(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGVTALRM};

    if (timer_create(CLOCK_MONOTONIC, &event, &patience) != 0) {
        ereport(LOG, (errmsg("no timer could be made for a student's session: %m")));
        return;
    }
    pqsignal(SIGVTALRM, shut_connection);
    pqsignal(SIGTERM, end_soon);
}
#else
void gan_bound_dying(void) {}
#endif
