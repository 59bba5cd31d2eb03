/*
 * hardware.h - what gan_join is told of this machine
 */
#ifndef GANN_HARDWARE_H
#define GANN_HARDWARE_H

#include <stddef.h>

typedef struct hardware {
    int cores;     /* that this process may use, 1 … 65536 */
    int memory_mb; /* of the machine, 0 if unknown */
    char cpu[65];  /* "Intel(R) Core(TM) i5", only letters, digits and " ()@.,_/+-" */
} hardware;

/* Looks at the machine; what cannot be found out is left empty. */
void hardware_read(hardware *machine);

/* Turns the host's name into a worker's name: 1 … 32 letters, digits, spaces, dots, dashes, underscores. */
void hardware_name(char name[33]);

#endif
