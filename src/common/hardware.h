/*
 * hardware.h - this machine: what is reported to gan_join, and how many threads it has room for
 */
#ifndef GANN_HARDWARE_H
#define GANN_HARDWARE_H

#include <stddef.h>

typedef struct hardware {
    int cores;     /* that this process may use, 1 … 65536 */
    int memory_mb; /* of the machine, 0 if unknown */
    char cpu[65];  /* "Intel(R) Core(TM) i5", only letters, digits and " ()@.,_/+-" */
} hardware;

/* Looks at the machine; unknown values are left empty. */
void hardware_read(hardware *machine);

/* Counts the processors that this process may use, limited by its container's share of their
 * time. */
int hardware_cores(void);

/* Counts their cores: two processors of one core are not twice as fast. folder is like
 * /sys/devices/system/cpu. */
int hardware_physical(const char *folder);

/* Copies a device's name with only the characters that gan_join takes. */
void hardware_plain(char *to, size_t size, const char *from);

/* Turns the host's name into a worker's name: 1 … 32 letters, digits, spaces, dots, dashes,
 * underscores. */
void hardware_name(char name[33]);

#endif
