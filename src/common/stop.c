/*
 * stop.c - signals, through a pipe that every wait also watches
 */
#define _POSIX_C_SOURCE 200809L

#include "stop.h"
#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int wake[2] = {-1, -1};
static volatile sig_atomic_t asked;

/* Notes that a stop is requested. */
static void ask(void) {
    int saved = errno;
    ssize_t written;

    asked = 1;
    written = write(wake[1], "!", 1);
    (void)written;
    errno = saved;
}

/* Notes the first signal; leaves at the second. */
static void on_signal(int number) {
    (void)number;
    if (asked)
        _exit(130);
    ask();
}

/* The terminal was closed. Both the shell and the kernel may report it, so a second signal is not a
 * second request. */
static void on_hangup(int number) {
    (void)number;
    ask();
}

/* Stops when the terminal is closed, unless the program was started to outlive it (nohup). */
static int install_hangup(struct sigaction *action) {
    struct sigaction before;

    if (sigaction(SIGHUP, NULL, &before) != 0 || before.sa_handler == SIG_IGN)
        return 0;
    action->sa_handler = on_hangup;
    return sigaction(SIGHUP, action, NULL);
}

int stop_install(void) {
    struct sigaction action;

    if (pipe(wake) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (fcntl(wake[i], F_SETFL, O_NONBLOCK) != 0 || fcntl(wake[i], F_SETFD, FD_CLOEXEC) != 0)
            return -1;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    action.sa_flags = SA_RESTART;
    action.sa_handler = on_signal;
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0 ||
        install_hangup(&action) != 0)
        return -1;
    action.sa_handler = SIG_IGN;
    return sigaction(SIGPIPE, &action, NULL);
}

bool stop_asked(void) {
    return asked != 0;
}

/* Computes poll's timeout up to a given time, rounded up so that no wait spins. */
static int milliseconds_until(double moment) {
    double left = ceil((moment - clock_now()) * 1000.0);

    return left <= 0 ? 0 : left < INT_MAX ? (int)left : INT_MAX;
}

stop_event stop_wait(int fd, short events, double seconds) {
    return stop_wait_two(fd, events, -1, 0, seconds);
}

stop_event stop_wait_two(int fd, short events, int other, short other_events, double seconds) {
    double until = clock_now() + seconds;

    for (;;) {
        struct pollfd fds[3] = {{.fd = wake[0], .events = POLLIN},
                                /* poll() ignores negative descriptors */
                                {.fd = fd, .events = events},
                                {.fd = other, .events = other_events}};
        int ready;

        if (asked)
            return STOP_ASKED;
        ready = poll(fds, 3, milliseconds_until(until));
        if (asked)
            return STOP_ASKED;
        if (ready < 0 && errno != EINTR)
            return STOP_FAILED;
        if (ready > 0 && (fds[1].revents != 0 || fds[2].revents != 0))
            return STOP_READY;
        if (clock_now() >= until)
            return STOP_TIMEOUT;
    }
}
