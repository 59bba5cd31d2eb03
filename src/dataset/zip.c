/*
 * zip.c - images inside a zip archive, read in place by libzip. Names, lengths and CRCs come from
 * the central directory, so that opening reads none of the images.
 */
#define _POSIX_C_SOURCE 200809L

#include "source.h"
#include "inflate64.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <zip.h>
#include <zlib.h>

#define NAME_SHOWN 160

/* How many compressed bytes of an entry are read whole, which only Deflate64 needs. */
#define PACKED_MAX (IMAGE_FILE_MAX + (1 << 20))

#define DEFLATE64 9

/* The methods that zip archives name, for messages; unzip's zipinfo calls them so, too. */
static const struct {
    unsigned method;
    const char *name;
} methods[] = {{1, "shrinking"}, {2, "reducing"},      {3, "reducing"},   {4, "reducing"},
               {5, "reducing"},  {6, "imploding"},     {9, "Deflate64"},  {10, "DCL implode"},
               {12, "bzip2"},    {14, "LZMA"},         {20, "Zstandard"}, {93, "Zstandard"},
               {95, "xz"},       {96, "JPEG variant"}, {98, "PPMd"}};

/* Recognises the signature of a first entry, of the directory of an empty archive, or of a part of
 * an archive. */
static bool zip_recognise(bool folder, const unsigned char *head, size_t head_size) {
    return !folder && head_size >= 4 && head[0] == 'P' && head[1] == 'K' &&
           ((head[2] == 3 && head[3] == 4) || (head[2] == 5 && head[3] == 6) ||
            (head[2] == 7 && head[3] == 8));
}

/* ---- listing ---- */

static const char *method_name(unsigned method) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "a method without a name";
}

static bool can_unpack(unsigned method) {
    return method == DEFLATE64 || zip_compression_method_supported((zip_int32_t)method, 0) != 0;
}

/* Refuses an archive with an image that can't be unpacked here: other programs could unpack it, and
 * would see other images. Returns -1 with the error. */
static int zip_check(const zip_stat_t *entry, char *error, size_t error_size) {
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_CRC | ZIP_STAT_COMP_METHOD;
    char name[NAME_SHOWN];

    dataset_printable((entry->valid & ZIP_STAT_NAME) ? entry->name : "?", name, sizeof name);
    if ((entry->valid & needed) != needed)
        snprintf(
            error, error_size,
            "its entry \"%s\" has no length or checksum. Unpack the archive and give the folder.",
            name);
    else if ((entry->valid & ZIP_STAT_ENCRYPTION_METHOD) && entry->encryption_method != ZIP_EM_NONE)
        snprintf(
            error, error_size,
            "it is encrypted (\"%s\" is). Unpack it with its password (7z x) and give the folder.",
            name);
    else if (!can_unpack(entry->comp_method))
        snprintf(error, error_size,
                 "its entry \"%s\" is compressed by %s (method %u), which can't be read here. "
                 "Unpack the archive "
                 "(7z x) and give the folder.",
                 name, method_name(entry->comp_method), (unsigned)entry->comp_method);
    else
        return 0;
    return -1;
}

/* Adds entry number place if it has an image's name. Returns -1 with the error filled. */
static int zip_list_one(zip_t *archive, zip_uint64_t place, dataset_items *items, char *error,
                        size_t error_size) {
    zip_stat_t entry;
    dataset_item item;
    const char *decoded;

    zip_stat_init(&entry);
    if (zip_stat_index(archive, place, ZIP_FL_ENC_RAW, &entry) != 0) {
        snprintf(error, error_size, "its entry %llu can't be read: %s. Download it again.",
                 (unsigned long long)place, zip_strerror(archive));
        return -1;
    }
    if (!(entry.valid & ZIP_STAT_NAME) || !dataset_is_image_name(entry.name))
        return 0;
    if (zip_check(&entry, error, error_size) != 0)
        return dataset_is_stray(entry.name, true) ? 0 : -1;
    decoded = zip_get_name(archive, place, ZIP_FL_ENC_GUESS);
    item = (dataset_item){
        .name = (char *)entry.name, .size = entry.size, .place = place, .crc = entry.crc};
    if (decoded != NULL && strcmp(decoded, entry.name) != 0)
        item.decoded = (char *)decoded;
    if (dataset_items_add(items, &item) != 0) {
        snprintf(error, error_size,
                 "there is not enough memory for the list of its images. Close other programs.");
        return -1;
    }
    return 0;
}

/* If the images are in an archive within the archive, says so and returns -1. */
static int zip_look_for_archive(zip_t *archive, zip_int64_t entries, char *error,
                                size_t error_size) {
    for (zip_int64_t place = 0; place < entries; place++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)place, ZIP_FL_ENC_RAW);
        size_t length = name != NULL ? strlen(name) : 0;
        char shown[NAME_SHOWN];

        if (length < 4 || strcasecmp(name + length - 4, ".zip") != 0 ||
            dataset_is_stray(name, true))
            continue;
        dataset_printable(name, shown, sizeof shown);
        snprintf(error, error_size,
                 "it holds no images, but \"%s\". Unpack it (unzip) and give that file.", shown);
        return -1;
    }
    return 0;
}

/* Lists the images. Returns -1 with the error filled. */
static int zip_list(zip_t *archive, dataset_items *items, char *error, size_t error_size) {
    zip_int64_t entries = zip_get_num_entries(archive, 0);

    for (zip_int64_t place = 0; place < entries; place++)
        if (zip_list_one(archive, (zip_uint64_t)place, items, error, error_size) != 0)
            return -1;
    return items->count > 0 ? 0 : zip_look_for_archive(archive, entries, error, error_size);
}

/* Says why there is no archive in a file that begins like one. */
static void zip_explain(zip_extent_outcome outcome, char *error, size_t error_size) {
    if (outcome == ZIP_SPLIT)
        snprintf(error, error_size,
                 "it is one part of a zip archive of several parts. Join them (zip -s 0 FILE --out "
                 "whole.zip) and "
                 "give the whole.");
    else
        snprintf(error, error_size,
                 "it is only the beginning of a zip archive: its directory, which comes last, is "
                 "missing or "
                 "damaged. Download it again.");
}

/* Opens the archive that is a part of a file, usually the whole file. Returns NULL with the error
 * filled. */
static zip_t *zip_open_part(const char *path, uint64_t start, uint64_t length, char *error,
                            size_t error_size) {
    zip_error_t reason;
    zip_source_t *part;
    zip_t *archive = NULL;

    zip_error_init(&reason);
    part = zip_source_file_create(path, start, (zip_int64_t)length, &reason);
    if (part != NULL)
        archive = zip_open_from_source(part, ZIP_RDONLY, &reason);
    if (archive == NULL) {
        zip_source_free(part);
        snprintf(error, error_size, "its directory can't be read: %s. Download it again.",
                 zip_error_strerror(&reason));
    }
    zip_error_fini(&reason);
    return archive;
}

/* Opens the archive and lists the images; see dataset_kind. */
static void *zip_open_source(const char *path, dataset_items *items, char *error,
                             size_t error_size) {
    uint64_t start, length;
    zip_extent_outcome outcome = dataset_zip_extent(path, &start, &length);
    zip_t *archive = NULL;

    if (outcome != ZIP_WHOLE)
        zip_explain(outcome, error, error_size);
    else
        archive = zip_open_part(path, start, length, error, error_size);
    if (archive != NULL && zip_list(archive, items, error, error_size) != 0) {
        zip_discard(archive);
        return NULL;
    }
    return archive;
}

/* ---- reading ---- */

/*
 * Tells whether this machine or the archive causes an error of libzip. Memory and the disk are this
 * machine's; any other error is in the bytes of the archive, so everybody with this archive has it.
 */
static int zip_outcome(int code, const char *text, char *error, size_t error_size) {
    bool machine = code == ZIP_ER_MEMORY || code == ZIP_ER_READ || code == ZIP_ER_OPEN ||
                   code == ZIP_ER_CLOSE || code == ZIP_ER_TMPOPEN || code == ZIP_ER_INTERNAL;

    if (machine)
        snprintf(error, error_size, "%s", text);
    else
        snprintf(error, error_size, "it is damaged in the archive (%s)", text);
    return machine ? IMAGE_FAILED : IMAGE_BROKEN;
}

/* Reads size bytes, or fewer if the entry ends before. Then reads nothing once more, which makes
 * libzip compare the checksum. Returns the number of bytes. */
static uint64_t zip_read_bytes(zip_file_t *file, unsigned char *bytes, uint64_t size) {
    unsigned char beyond;
    uint64_t done = 0;

    while (done < size) {
        zip_int64_t got = zip_fread(file, bytes + done, size - done);

        if (got <= 0 || (uint64_t)got > size - done)
            return done;
        done += (uint64_t)got;
    }
    return zip_fread(file, &beyond, 1) == 0 ? done : done + 1;
}

/* Reads an entry, or (ZIP_FL_COMPRESSED) its compressed bytes. Returns the same values as
 * dataset_kind's read. */
static int zip_read_entry(zip_t *archive, uint64_t place, zip_flags_t flags, unsigned char *bytes,
                          uint64_t size, char *error, size_t error_size) {
    zip_file_t *file = zip_fopen_index(archive, place, flags);
    int outcome = IMAGE_OK, code;

    if (file == NULL) {
        code = zip_error_code_zip(zip_get_error(archive));
        return zip_outcome(code, zip_strerror(archive), error, error_size);
    }
    if (zip_read_bytes(file, bytes, size) != size ||
        zip_error_code_zip(zip_file_get_error(file)) != ZIP_ER_OK) {
        code = zip_error_code_zip(zip_file_get_error(file));
        outcome =
            zip_outcome(code, code != ZIP_ER_OK ? zip_file_strerror(file) : "its length is wrong",
                        error, error_size);
    }
    zip_fclose(file);
    return outcome;
}

/* Reads an entry that libzip can't decompress. Returns the same values as dataset_kind's read. */
static int zip_read_deflate64(zip_t *archive, const dataset_item *item, uint64_t packed_size,
                              unsigned char *bytes, char *error, size_t error_size) {
    unsigned char *packed =
        packed_size <= PACKED_MAX ? malloc(packed_size > 0 ? packed_size : 1) : NULL;
    int outcome;

    if (packed == NULL) {
        snprintf(error, error_size,
                 packed_size <= PACKED_MAX
                     ? "there is not enough memory to unpack it"
                     : "it is damaged in the archive (its compressed size is impossible)");
        return packed_size <= PACKED_MAX ? IMAGE_FAILED : IMAGE_BROKEN;
    }
    outcome = zip_read_entry(archive, item->place, ZIP_FL_COMPRESSED, packed, packed_size, error,
                             error_size);
    if (outcome == IMAGE_OK && inflate64(packed, packed_size, bytes, item->size) != 0) {
        snprintf(error, error_size, "it is damaged in the archive (invalid compressed data)");
        outcome = IMAGE_BROKEN;
    }
    free(packed);
    return outcome;
}

/* Reads one entry; see dataset_kind. */
static int zip_read(void *source, const dataset_item *item, unsigned char *bytes, char *error,
                    size_t error_size) {
    zip_stat_t entry;
    int outcome;

    zip_stat_init(&entry);
    if (zip_stat_index(source, item->place, 0, &entry) == 0 &&
        (entry.valid & ZIP_STAT_COMP_METHOD) && entry.comp_method == DEFLATE64)
        outcome = zip_read_deflate64(source, item, entry.comp_size, bytes, error, error_size);
    else
        outcome = zip_read_entry(source, item->place, 0, bytes, item->size, error, error_size);
    if (outcome == IMAGE_OK &&
        (uint32_t)crc32(crc32(0, NULL, 0), bytes, (uInt)item->size) != item->crc) {
        snprintf(error, error_size, "it is damaged in the archive (its checksum is wrong)");
        outcome = IMAGE_BROKEN;
    }
    return outcome;
}

/* Closes the archive without writing anything. */
static void zip_close_source(void *source) {
    zip_discard(source);
}

const dataset_kind dataset_zip_kind = {.name = "zip archive",
                                       .named = true,
                                       .recognise = zip_recognise,
                                       .open = zip_open_source,
                                       .read = zip_read,
                                       .decode = dataset_decode_file,
                                       .close = zip_close_source};
