/*
 * reading.c - limits the time that PostgreSQL takes to read a statement before any hook sees it
 *
 * The guard refuses a statement after it has been parsed and analysed. Neither step checks for
 * interrupts, and both can take minutes: the scanner reads nested comments again for each level,
 * GROUP BY compares each expression with all others. SIGTERM has no effect meanwhile, and SIGKILL
 * would restart the whole server.
 *
 * So a timer counts the processor time of a student's session and sends one signal a second. If
 * SECONDS_MAX signals come while one statement is still being read, the signal handler ends the
 * session. That is only safe if the interrupted code holds nothing: it must be PostgreSQL's own
 * code (neither malloc nor another library), hold no lock and be in no critical section. Otherwise
 * the next signal decides.
 */
#include "../module/module.h"
#include "guard.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"

#include <link.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#define SECONDS_MAX                                                                                \
    2 /* of processor time, to read one statement; gan_worker's take less than 1 ms */

static uintptr_t text_begin, text_end; /* PostgreSQL's own machine code */

/* Finds the machine code of the program itself: it comes first. */
static int note_text(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        text_begin = (uintptr_t)(info->dlpi_addr + part->p_vaddr);
        text_end = text_begin + part->p_memsz;
    }
    return 1;
}

/* Tells whether the signal interrupted code that can be abandoned. */
static bool holds_nothing(const ucontext_t *at) {
#if defined(__x86_64__)
    uintptr_t where = (uintptr_t)at->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    uintptr_t where = (uintptr_t)at->uc_mcontext.pc;
#else
    uintptr_t where = 0;
#endif
    return where >= text_begin && where < text_end && InterruptHoldoffCount == 0 &&
           CritSectionCount == 0;
}

/* Called once for each second of this process's processor time. */
static void second_passed(int number, siginfo_t *information, void *at) {
    static TimestampTz statement;
    static int seconds;
    int error = errno;

    (void)number;
    (void)information;
    /* While a portal runs, so do functions of the protocol, and they check for interrupts. */
    if (!debug_query_string || ActivePortal || statement != GetCurrentStatementStartTimestamp()) {
        statement = GetCurrentStatementStartTimestamp();
        seconds = 0;
    } else if (++seconds >= SECONDS_MAX && holds_nothing(at))
        ereport(FATAL, (errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
                        errmsg("the statement took more than %d s to read", SECONDS_MAX),
                        errhidestmt(true)));
    errno = error;
}

/* Starts the timer in this session. */
void gan_bound_reading(void) {
    const struct itimerval each = {{1, 0}, {1, 0}};
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_RESTART};

    (void)dl_iterate_phdr(note_text, NULL);
    action.sa_sigaction = second_passed;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGPROF, &action, NULL) != 0 || setitimer(ITIMER_PROF, &each, NULL) != 0)
        ereport(LOG, (errmsg("the time to read a student's statements could not be limited: %m")));
}
