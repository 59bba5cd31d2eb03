/*
 * hardware.c - cores, memory, CPU model and host name
 */
#define _GNU_SOURCE

#include "hardware.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CORES_MAX 65536

/* Tells whether a byte is an ASCII letter or digit. */
static int is_plain(unsigned char byte) {
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

/* Copies what is plain or in allowed; other bytes become instead, or nothing if that is 0. */
static void copy_plain(char *to, size_t size, const char *from, const char *allowed, char instead) {
    size_t length = 0;

    for (; *from != '\0' && length + 1 < size; from++)
        if (is_plain((unsigned char)*from) || strchr(allowed, *from) != NULL)
            to[length++] = *from;
        else if (instead != '\0')
            to[length++] = instead;
    to[length] = '\0';
}

/* Counts the cores this process may use. */
static int count_cores(void) {
    cpu_set_t set;
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > CORES_MAX ? CORES_MAX : (int)count;
}

/* Measures the machine's memory. */
static int measure_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    double megabytes = pages > 0 && page > 0 ? (double)pages * (double)page / 1048576.0 : 0;

    return megabytes < INT_MAX ? (int)megabytes : INT_MAX;
}

/* Reads the model's name of the first CPU. */
static void read_cpu(char *cpu, size_t size) {
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");

    cpu[0] = '\0';
    if (file == NULL)
        return;
    while (cpu[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');

        if (colon == NULL || strncmp(line, "model name", 10) != 0)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = '\0';
        copy_plain(cpu, size, colon, " ()@.,_/+-", '\0');
    }
    fclose(file);
}

void hardware_read(hardware *machine) {
    machine->cores = count_cores();
    machine->memory_mb = measure_memory();
    read_cpu(machine->cpu, sizeof machine->cpu);
}

void hardware_name(char name[33]) {
    char host[256] = "";
    const char *from = host;

    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    while (*from != '\0' && !is_plain((unsigned char)*from))
        from++;
    copy_plain(name, 33, *from != '\0' ? from : "worker", " ._-", '-');
}
