/*
 * dataset_zip.c - images inside a zip archive, read in place by libzip. Names, lengths and CRCs come from the
 * central directory, so that opening reads none of the images.
 */
#include "dataset_source.h"

#include <stdio.h>
#include <string.h>

#include <zip.h>

#define NAME_SHOWN 160

/* Tells by the signature of a first entry, or of the directory of an empty archive. */
static bool zip_recognise(bool folder, const unsigned char *head, size_t head_size) {
    return !folder && head_size >= 4 && head[0] == 'P' && head[1] == 'K' &&
           ((head[2] == 3 && head[3] == 4) || (head[2] == 5 && head[3] == 6));
}

/* Tells whether an entry lies inside a folder named __MACOSX, where macOS keeps things that only look like
 * images. */
static bool zip_is_mac_rubbish(const char *name) {
    static const char rubbish[] = "__MACOSX/";

    for (const char *part = name; part != NULL; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, rubbish, sizeof rubbish - 1) == 0)
            return true;
    }
    return false;
}

/* Refuses what not every student's libzip can read, so that all see the same images. Returns -1 with the error.
 */
static int zip_check(const zip_stat_t *entry, char *error, size_t error_size) {
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_CRC | ZIP_STAT_COMP_METHOD;
    char name[NAME_SHOWN];

    dataset_printable((entry->valid & ZIP_STAT_NAME) ? entry->name : "?", name, sizeof name);
    if ((entry->valid & needed) != needed)
        snprintf(error, error_size, "its entry \"%s\" has no length or checksum; make the archive again", name);
    else if ((entry->valid & ZIP_STAT_ENCRYPTION_METHOD) && entry->encryption_method != ZIP_EM_NONE)
        snprintf(error, error_size, "its entry \"%s\" is encrypted; make the archive without a password", name);
    else if (entry->comp_method != ZIP_CM_STORE && entry->comp_method != ZIP_CM_DEFLATE)
        snprintf(error, error_size,
                 "its entry \"%s\" is compressed by method %u; make the archive with method 0 (stored) or 8 "
                 "(deflate)",
                 name, (unsigned)entry->comp_method);
    else
        return 0;
    return -1;
}

/* Adds entry number place if it is an image. Returns -1 with the error filled. */
static int zip_list_one(zip_t *archive, zip_uint64_t place, dataset_items *items, char *error,
                        size_t error_size) {
    zip_stat_t entry;
    dataset_item item;

    zip_stat_init(&entry);
    if (zip_stat_index(archive, place, ZIP_FL_ENC_RAW, &entry) != 0) {
        snprintf(error, error_size, "its entry %llu cannot be read: %s; get the file again",
                 (unsigned long long)place, zip_strerror(archive));
        return -1;
    }
    if (!(entry.valid & ZIP_STAT_NAME) || !dataset_is_image_name(entry.name) || zip_is_mac_rubbish(entry.name))
        return 0;
    if (zip_check(&entry, error, error_size) != 0)
        return -1;
    item = (dataset_item){.name = (char *)entry.name, .size = entry.size, .place = place, .crc = entry.crc};
    if (dataset_items_add(items, &item) != 0) {
        snprintf(error, error_size, "not enough memory for the list of its images");
        return -1;
    }
    return 0;
}

/* Opens the archive and lists the images in the order of their full names; see dataset_kind. */
static void *zip_open_source(const char *path, dataset_items *items, char *error, size_t error_size) {
    int code = 0;
    zip_t *archive = zip_open(path, ZIP_RDONLY, &code);
    zip_int64_t entries;

    if (archive == NULL) {
        zip_error_t reason;

        zip_error_init_with_code(&reason, code);
        snprintf(error, error_size, "it cannot be read as a zip archive: %s; get the file again",
                 zip_error_strerror(&reason));
        zip_error_fini(&reason);
        return NULL;
    }
    entries = zip_get_num_entries(archive, 0);
    for (zip_int64_t place = 0; place < entries; place++)
        if (zip_list_one(archive, (zip_uint64_t)place, items, error, error_size) != 0) {
            zip_discard(archive);
            return NULL;
        }
    dataset_items_sort(items);
    return archive;
}

/* Reads size bytes and then nothing, at which libzip compares the checksum. Returns -1 on anything else. */
static int zip_read_exactly(zip_file_t *file, unsigned char *bytes, uint64_t size) {
    unsigned char beyond;

    while (size > 0) {
        zip_int64_t got = zip_fread(file, bytes, size);

        if (got <= 0 || (uint64_t)got > size)
            return -1;
        bytes += got;
        size -= (uint64_t)got;
    }
    return zip_fread(file, &beyond, 1) == 0 ? 0 : -1;
}

/* Reads one entry; see dataset_kind. */
static int zip_read(void *source, const dataset_item *item, unsigned char *bytes, char *error,
                    size_t error_size) {
    zip_file_t *file = zip_fopen_index(source, item->place, 0);
    int outcome;

    if (file == NULL) {
        snprintf(error, error_size, "%s", zip_strerror(source));
        return -1;
    }
    outcome = zip_read_exactly(file, bytes, item->size);
    if (outcome != 0)
        snprintf(error, error_size, "%s",
                 zip_error_code_zip(zip_file_get_error(file)) != ZIP_ER_OK
                     ? zip_file_strerror(file)
                     : "its length is not the listed one");
    zip_fclose(file);
    return outcome;
}

/* Closes the archive without writing anything. */
static void zip_close_source(void *source) {
    zip_discard(source);
}

const dataset_kind dataset_zip_kind = {.name = "zip archive",
                                       .recognise = zip_recognise,
                                       .open = zip_open_source,
                                       .read = zip_read,
                                       .decode = dataset_decode_file,
                                       .close = zip_close_source};
