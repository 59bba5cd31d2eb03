/*
 * open.c - finds out what is at a path, and says what is wrong with it
 */
#define _POSIX_C_SOURCE 200809L

#include "open.h"
#include "file_kind.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SHOWN 160
#define WANTED "Give a zip archive, a folder of JPEG or PNG files, or an IDX file"

static const dataset_kind *const kinds[] = {&dataset_folder_kind, &dataset_zip_kind,
                                            &dataset_idx_kind};

/* Endings that browsers and other programs give to a file that they are still downloading. */
static const char *const unfinished[] = {".crdownload", ".part",     ".partial", ".download",
                                         ".opdownload", ".filepart", ".!ut",     ".aria2"};

/* Tells whether a name ends in a text, in any case. */
static bool ends_in(const char *name, const char *ending) {
    size_t length = strlen(name), size = strlen(ending);

    return length >= size && strcasecmp(name + length - size, ending) == 0;
}

/* Tells whether a name is that of an unfinished download. */
static bool is_unfinished(const char *path) {
    for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++)
        if (ends_in(path, unfinished[i]))
            return true;
    return false;
}

/* Reads the first bytes of a file. Returns how many, or -1 with errno set. */
static int read_head(const char *path, unsigned char *head, size_t size) {
    FILE *file = fopen(path, "rb");
    size_t got;
    int reason = 0;

    if (file == NULL)
        return -1;
    got = fread(head, 1, size, file);
    if (ferror(file))
        reason = errno;
    fclose(file);
    errno = reason;
    return reason != 0 ? -1 : (int)got;
}

/* Says why there is nothing at a path. */
static void explain_absent(const char *path, char *error, size_t error_size) {
    char target[NAME_SHOWN], shown[NAME_SHOWN], partial[4096];
    ssize_t length = readlink(path, target, sizeof target - 1);
    struct stat status;

    if (length > 0) {
        target[length] = '\0';
        dataset_printable(target, shown, sizeof shown);
        snprintf(error, error_size,
                 "it is a link to \"%s\", which isn't there. Give the path of the file itself.",
                 shown);
        return;
    }
    for (size_t i = 0; i < sizeof unfinished / sizeof *unfinished; i++)
        if (snprintf(partial, sizeof partial, "%s%s", path, unfinished[i]) < (int)sizeof partial &&
            path[0] != '\0' && stat(partial, &status) == 0) {
            snprintf(error, error_size,
                     "there is only the beginning of it, in a file ending in %s: its download "
                     "isn't finished. "
                     "Wait for it, or download it again.",
                     unfinished[i]);
            return;
        }
    snprintf(error, error_size, "there is no such file or folder. " WANTED ".");
}

/* Says why an existing path can't be opened. */
static void explain_errno(const char *path, char *error, size_t error_size) {
    if (errno == ENOENT || errno == ENOTDIR)
        explain_absent(path, error, error_size);
    else if (errno == EACCES || errno == EPERM)
        snprintf(error, error_size,
                 "you may not read it (permission denied). Make it readable (chmod +r, for a "
                 "folder chmod +rx), "
                 "or copy it to a folder of your own.");
    else if (errno == ELOOP)
        snprintf(error, error_size,
                 "it is a link that leads to itself. Give the path of the file itself.");
    else
        snprintf(error, error_size,
                 "it can't be read: %s. Check the disk, or copy it to another one.",
                 strerror(errno));
}

/* Describes a file that is not a dataset. */
static void explain_file(const char *path, const unsigned char *head, size_t got, uint64_t size,
                         char *error, size_t error_size) {
    file_kind found = file_kind_of(head, got);
    char text[32];

    file_size_text(size, text, sizeof text);
    if (is_unfinished(path))
        snprintf(
            error, error_size,
            "it is a download that isn't finished (%s so far). Wait for it, or download it again.",
            text);
    else if (size == 0)
        snprintf(error, error_size, "it is an empty file. Download it again.");
    else
        snprintf(error, error_size, "it is %s, %s, not %s. %s", found.what, text,
                 ends_in(path, ".zip") ? "a zip archive" : "a dataset", found.remedy);
}

const dataset_kind *dataset_kind_of(const char *path, char *error, size_t error_size) {
    struct stat status;
    unsigned char head[FILE_KIND_HEAD];
    uint64_t start, length;
    int got = 0;

    if (stat(path, &status) != 0) {
        explain_errno(path, error, error_size);
        return NULL;
    }
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
        snprintf(error, error_size, "it is neither a file nor a folder. " WANTED ".");
        return NULL;
    }
    if (S_ISREG(status.st_mode) && (got = read_head(path, head, sizeof head)) < 0) {
        explain_errno(path, error, error_size);
        return NULL;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !(got > 0 && is_unfinished(path)); i++)
        if (kinds[i]->recognise(S_ISDIR(status.st_mode), head, (size_t)got))
            return kinds[i];
    if (got > 0 && dataset_zip_extent(path, &start, &length) == ZIP_WHOLE)
        return &dataset_zip_kind; /* after a program that unpacks it, say */
    explain_file(path, head, (size_t)got, (uint64_t)status.st_size, error, error_size);
    return NULL;
}

/* Finds something in a folder that may have been meant. Returns false if there is nothing. */
static bool find_inside(const char *path, char name[NAME_SHOWN]) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    bool found = false;

    while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
        found = !dataset_is_stray(entry->d_name, false) &&
                (ends_in(entry->d_name, ".zip") || strstr(entry->d_name, "idx3-ubyte") != NULL);
        if (found)
            dataset_printable(entry->d_name, name, NAME_SHOWN);
    }
    if (folder != NULL)
        closedir(folder);
    return found;
}

void dataset_explain_empty(const dataset_kind *kind, const char *path, char *error,
                           size_t error_size) {
    char name[NAME_SHOWN];

    if (!kind->named)
        snprintf(error, error_size, "it holds no images. Give another file.");
    else if (kind == &dataset_folder_kind && find_inside(path, name))
        snprintf(
            error, error_size,
            "the folder holds no images (.jpg, .jpeg or .png). It holds \"%s\": give that file.",
            name);
    else
        snprintf(error, error_size,
                 "the %s holds no images (.jpg, .jpeg or .png). Give the one that holds the "
                 "class's images.",
                 kind->name);
}
