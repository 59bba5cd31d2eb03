/*
 * begin.c - what both programs for students do before their work
 */
#define _DEFAULT_SOURCE

#include "begin.h"
#include "display.h"
#include "../common/stop.h"

#include <unistd.h>

bool begin_program(const options *o) {
    display_open();
    if (stop_install() != 0) {
        display_warn("The signal handlers can't be installed.\nStart the program again.");
        return false;
    }
    if (o->nice > 0 && nice(o->nice) == -1)
        display_warn(
            "The priority can't be lowered by %d.\nThere is nothing to do: it stays unchanged.",
            o->nice);
    return true;
}
