/*
 * main.c - gan_local: trains a GAN on this machine alone
 */
#define _DEFAULT_SOURCE

#include "local.h"
#include "local_options.h"
#include "../common/stop.h"
#include "../student/display.h"

#include <unistd.h>

#define MISTAKE 2 /* the exit status where trying again would not help */

int main(int argc, char **argv) {
    options o;
    int status;
    options_answer answer = local_options_read(&o, argc, argv);

    if (answer != OPTIONS_GO)
        return answer == OPTIONS_DONE ? 0 : MISTAKE;
    display_open();
    if (stop_install() != 0) {
        display_warn("The signal handlers can't be installed.\nStart the program again.");
        return 1;
    }
    if (o.nice > 0 && nice(o.nice) == -1)
        display_warn(
            "The priority can't be lowered by %d.\nThere is nothing to do: it stays unchanged.",
            o.nice);
    display_threads(o.threads, o.threads_given);
    status = local_run(&o) == 0 ? 0 : MISTAKE;
    options_free(&o);
    return status;
}
