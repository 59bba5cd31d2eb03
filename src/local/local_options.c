/*
 * local_options.c - the command line of gan_local
 */
#include "local_options.h"

#include <stddef.h>

static const char usage[] =
    "gan_local trains a GAN on this machine alone, without a server.\n"
    "\n"
    "  gan_local [option ...]\n"
    "\n"
    "  --data PATH       the images: a zip archive, a folder, or an IDX file. Without it,\n"
    "                    $GANN_DATA and the usual places are searched\n"
    "  --out FOLDER      for checkpoint.safetensors and samples-....png (default: gan-local)\n"
    "  --resume FILE     continue from a checkpoint\n"
    "  --iterations N    train to iteration N (default: 1000; with --resume: the\n"
    "                    checkpoint's)\n"
    "  --local-steps H   steps of both networks in an iteration (default: 40)\n"
    "  --batch B         images computed at once (default: 8)\n"
    "  --save-every N    iterations between checkpoints (default: 50)\n"
    "  --image-size S, --channels C, --latent Z, --features F    the networks (64, 3, 100, 64)\n"
    "  --learning-rate R (default: 0.0003)\n"
    "  --seed N          of weights, noise and order (default: random)\n"
    "  --threads T       threads to compute with (default: one fewer than this computer has\n"
    "                    cores)\n" OPTIONS_HELP_DEVICE
    "  --cache MB        memory for prepared images (default: 1024)\n"
    "\n" OPTIONS_HELP_ROOM "\n"
    "  --help, --version\n"
    "\n"
    "Ctrl-C saves a checkpoint and ends; a second Ctrl-C ends at once.\n";

static options_answer take_words(options *o, int count, char **words) {
    (void)words;
    if (o->out == NULL)
        o->out = "gan-local";
    return count == 0 ? OPTIONS_GO
                      : options_wrong("an argument is not an option",
                                      "Name the dataset with --data, a checkpoint to continue from "
                                      "with --resume.");
}

static const options_program gan_local = {
    .name = "gan_local", .usage = usage, .takes = OPTIONS_OF_LOCAL, .words = take_words};

options_answer local_options_read(options *o, int argc, char **argv) {
    return options_read(o, &gan_local, argc, argv);
}
