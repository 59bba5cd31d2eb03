/*
 * main.c - gan_local: trains a GAN on this machine alone
 */
#include "local.h"
#include "local_options.h"
#include "../student/begin.h"
#include "../student/device.h"
#include "../student/display.h"

#define MISTAKE 2 /* the exit status where trying again would not help */

int main(int argc, char **argv) {
    options o;
    int status;
    options_answer answer = local_options_read(&o, argc, argv);

    if (answer == OPTIONS_DEVICES)
        device_list();
    if (answer != OPTIONS_GO)
        return answer == OPTIONS_DONE || answer == OPTIONS_DEVICES ? 0 : MISTAKE;
    if (!begin_program(&o))
        return 1;
    display_threads(o.threads, o.threads_given);
    status = local_run(&o) == 0 ? 0 : MISTAKE;
    options_free(&o);
    return status;
}
