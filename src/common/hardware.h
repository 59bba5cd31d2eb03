/*
 * hardware.h - this machine: what gan_join is told of it, and how many threads it has room for
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

/* Counts the processors that this process may use, as many as its share of their time is worth. */
int hardware_cores(void);

/* Counts the cores among them: two processors of one core are not twice as fast. folder is like
 * /sys/devices/system/cpu. */
int hardware_physical(const char *folder);

/* Turns the host's name into a worker's name: 1 … 32 letters, digits, spaces, dots, dashes,
 * underscores. */
void hardware_name(char name[33]);

#endif
