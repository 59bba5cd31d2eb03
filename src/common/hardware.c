/*
 * hardware.c - cores, memory, CPU model and host name
 */
#define _GNU_SOURCE

#include "hardware.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CORES_MAX 65536

/* Tells whether a byte is an ASCII letter or digit. */
static int is_plain(unsigned char byte) {
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte >= '0' && byte <= '9');
}

/* Copies letters, digits and the bytes in allowed; others become instead, or are dropped if that is
 * 0. */
static void copy_plain(char *to, size_t size, const char *from, const char *allowed, char instead) {
    size_t length = 0;

    for (; *from != '\0' && length + 1 < size; from++)
        if (is_plain((unsigned char)*from) || strchr(allowed, *from) != NULL)
            to[length++] = *from;
        else if (instead != '\0')
            to[length++] = instead;
    to[length] = '\0';
}

void hardware_plain(char *to, size_t size, const char *from) {
    copy_plain(to, size, from, " ()@.,_/+-", '\0');
}

/* Reads the first number of a file; -1 if there is none. */
static long read_long(const char *path) {
    FILE *file = fopen(path, "re");
    long number = -1;

    if (file == NULL)
        return -1;
    if (fscanf(file, "%ld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

/* Returns the number of processors whose time our container gets (cgroup v2, then v1); CORES_MAX if
 * there is no limit. */
static int read_quota(void) {
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    long quota = -1, period = -1;

    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &quota, &period) != 2)
            quota = -1; /* "max" */
        fclose(file);
    } else {
        quota = read_long("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
        period = read_long("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    }
    return quota > 0 && period > 0 && quota / period < CORES_MAX
               ? (int)((quota + period - 1) / period)
               : CORES_MAX;
}

/* Puts a count within its limits. */
static int limit(long count, long most) {
    return count < 1 ? 1 : count > most ? (int)most : (int)count;
}

int hardware_cores(void) {
    cpu_set_t set;
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    return limit(count, read_quota());
}

/* Reads which core a processor belongs to, as a number unique to each core; -1 if the system does
 * not show it. */
static long read_core(const char *folder, int processor) {
    char path[300];
    long package, core;

    snprintf(path, sizeof path, "%.200s/cpu%d/topology/physical_package_id", folder, processor);
    package = read_long(path);
    snprintf(path, sizeof path, "%.200s/cpu%d/topology/core_id", folder, processor);
    core = read_long(path);
    return core < 0 ? -1 : (package < 0 ? 0 : package) * CORES_MAX + core;
}

int hardware_physical(const char *folder) {
    long cores[CPU_SETSIZE];
    cpu_set_t set;
    int count = 0;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return hardware_cores();
    for (int i = 0; i < CPU_SETSIZE; i++) {
        long core;
        bool known = false;

        if (!CPU_ISSET(i, &set))
            continue;
        if ((core = read_core(folder, i)) < 0)
            return hardware_cores(); /* this system does not show cores */
        for (int k = 0; k < count; k++)
            known = known || cores[k] == core;
        if (!known)
            cores[count++] = core;
    }
    return limit(count, hardware_cores());
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
        hardware_plain(cpu, size, colon);
    }
    fclose(file);
}

void hardware_read(hardware *machine) {
    machine->cores = hardware_cores();
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
