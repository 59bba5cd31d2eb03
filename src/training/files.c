/*
 * files.c - whole files, in and out
 */
#define _POSIX_C_SOURCE 200809L

#include "files.h"
#include "../dataset/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Says what went wrong with which file. */
static void say(char *error, size_t error_size, const char *what, const char *path,
                const char *why) {
    char shown[160];

    dataset_printable(path, shown, sizeof shown);
    snprintf(error, error_size, "%s \"%s\": %s", what, shown, why);
}

unsigned char *file_read(const char *path, size_t *size, char *error, size_t error_size) {
    FILE *file = fopen(path, "rbe");
    unsigned char *bytes = NULL;
    struct stat status;

    if (file == NULL || fstat(fileno(file), &status) != 0)
        say(error, error_size, "cannot read", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        say(error, error_size, "cannot read", path, "it is not a file");
    else if ((bytes = malloc((size_t)status.st_size + 1)) == NULL)
        say(error, error_size, "cannot read", path, "not enough memory");
    else if ((*size = fread(bytes, 1, (size_t)status.st_size, file)) != (size_t)status.st_size) {
        say(error, error_size, "cannot read", path,
            ferror(file) ? strerror(errno) : "it became shorter while it was read");
        free(bytes);
        bytes = NULL;
    }
    if (file != NULL)
        fclose(file);
    return bytes;
}

/* Writes everything and waits until it is on disk. */
static int write_all(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const char *at = bytes;
    int reason;

    if (fd < 0)
        return -1;
    while (size > 0) {
        ssize_t written = write(fd, at, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        at += written;
        size -= (size_t)written;
    }
    reason = size > 0 || fsync(fd) != 0 ? errno : 0;
    if (close(fd) != 0 && reason == 0)
        reason = errno;
    errno = reason;
    return reason == 0 ? 0 : -1;
}

int file_write(const char *path, const void *bytes, size_t size, char *error, size_t error_size) {
    char part[4096];

    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part) {
        say(error, error_size, "cannot write", path, "the name is too long");
        return -1;
    }
    if (write_all(part, bytes, size) != 0 || rename(part, path) != 0) {
        say(error, error_size, "cannot write", path, strerror(errno));
        (void)unlink(part);
        return -1;
    }
    return 0;
}
