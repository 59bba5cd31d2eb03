/*
 * retry.c - waiting after temporary failures
 */
#include "retry.h"
#include "../../common/stop.h"

outcome retry_wait(loop *l, server_status status) {
    if (stop_asked())
        return END;
    if (status == SERVER_FATAL || l->wait.ceiling == 0) /* a temporary failure is printed once */
        display_warn("%s", server_error(l->server));
    if (status == SERVER_FATAL)
        return FAIL;
    return stop_wait(-1, 0, backoff_next(&l->wait)) == STOP_ASKED ? END : GO_ON;
}

void retry_success(loop *l) {
    if (backoff_reset(&l->wait))
        display_say("the server answers again");
}
