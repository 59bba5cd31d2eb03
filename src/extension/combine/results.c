/*
 * results.c - reads the uploads of units, tile by tile
 *
 * Results are read in place in the server's buffers, unit after unit in the order of their first
 * positions, and checksums are computed in the same pass.
 */
#include "combine.h"

#include "miscadmin.h"

/* ---- the units ---- */

/* Numbers the accounts of the units as they appear, independent of their names: two classes that
 * computed the same units in the same way get the same bits. */
static void number_accounts(gan_unit_list *list, char *const *logins) {
    int *first = palloc(list->count * sizeof *first);

    for (int i = 0; i < list->count; i++) {
        size_t a = 0;
        while (a < list->account_count && strcmp(logins[first[a]], logins[i]) != 0)
            a++;
        if (a == list->account_count)
            first[list->account_count++] = i;
        list->accounts[i] = a;
    }
    pfree(first);
}

/* Makes the list from the last query's rows: unit, images, whether it is done, login. Those that
 * are done are in it. */
void gan_unit_list_read(gan_unit_list *list, int rows) {
    char **logins = palloc(Max(rows, 1) * sizeof *logins);

    memset(list, 0, sizeof *list);
    list->units = palloc(Max(rows, 1) * sizeof *list->units);
    list->images = palloc(Max(rows, 1) * sizeof *list->images);
    list->accounts = palloc(Max(rows, 1) * sizeof *list->accounts);
    for (int row = 0; row < rows; row++)
        if (DatumGetBool(gan_value(row, 3, NULL))) {
            int64 images = DatumGetInt64(gan_value(row, 2, NULL));
            list->units[list->count] = DatumGetInt64(gan_value(row, 1, NULL));
            list->images[list->count] = (double)images;
            list->total_images += images;
            logins[list->count++] = TextDatumGetCString(gan_value(row, 4, NULL));
        }
    number_accounts(list, logins);
}

/* Chains the units of each account, in their order. */
void gan_chain_units(gan_combiner *c) {
    int *last = palloc(c->list->account_count * sizeof *last);

    c->first_unit = palloc(c->list->account_count * sizeof *c->first_unit);
    c->next_unit = palloc(c->list->count * sizeof *c->next_unit);
    for (size_t a = 0; a < c->list->account_count; a++)
        c->first_unit[a] = -1;
    for (int i = 0; i < c->list->count; i++) {
        size_t a = c->list->accounts[i];
        c->next_unit[i] = -1;
        if (c->first_unit[a] < 0)
            c->first_unit[a] = i;
        else
            c->next_unit[last[a]] = i;
        last[a] = i;
    }
    pfree(last);
}

/* ---- tiles ---- */

static void end_tile(const gan_combiner *c, gan_tile *t) {
    size_t size = blob_size(t->count);

    t->end = Min(t->piece + c->tile_pieces, (int32)((size + PIECE_BYTES - 1) / PIECE_BYTES));
    t->last = (Min((size_t)t->end * PIECE_BYTES, size) - BLOB_HEADER_SIZE) / sizeof(float);
}

gan_tile gan_first_tile(const gan_combiner *c, int32 shard) {
    gan_tile t = {.shard = shard, .count = gan_shard_length(&c->run->model, shard)};

    end_tile(c, &t);
    return t;
}

void gan_next_tile(const gan_combiner *c, gan_tile *t) {
    t->piece = t->end;
    t->first = t->last;
    end_tile(c, t);
}

/* Tells whether a tile still lies in its shard. */
bool gan_tile_is_in(const gan_tile *t) {
    return t->piece < t->end;
}

/* Cuts a network's part out of a tile; nothing if the network isn't stepped. */
gan_slice gan_tile_slice(const gan_combiner *c, const gan_tile *t, dcgan_networks network) {
    size_t begin = (size_t)t->shard * SHARD_COUNT + t->first, end = begin + (t->last - t->first),
           first, count;

    if (c->networks != DCGAN_BOTH && c->networks != network)
        return (gan_slice){0, 0};
    dcgan_networks_range(&c->run->model, network, &first, &count);
    end = Min(end, first + count);
    first = Max(first, begin);
    return first < end ? (gan_slice){first - begin, end - first} : (gan_slice){0, 0};
}

/* ---- reading ---- */

/* Says that a unit's result isn't whole, and what to do. */
void gan_result_missing(const gan_combiner *c, int i, int32 shard) {
    ereport(
        ERROR,
        (errcode(ERRCODE_DATA_CORRUPTED),
         errmsg("shard %d of unit " INT64_FORMAT " is missing", shard, c->list->units[i]),
         errhint("SELECT gan_tick(%d) opens units again whose gradients a crash of the server has "
                 "taken.",
                 c->run->run)));
}

/* Checks the header that begins a unit's shard, and notes the checksum it announces. */
static void check_header(gan_combiner *c, int i, const gan_tile *t, const unsigned char *bytes,
                         size_t size) {
    if (size < BLOB_HEADER_SIZE)
        gan_result_missing(c, i, t->shard);
    gan_blob_require(blob_check_header(bytes, blob_size(t->count), t->count), "gan_gradient",
                     t->shard);
    c->announced[i] = blob_stored_crc(bytes);
    c->computed[i] = blob_crc32c(NULL, 0);
}

/* Adds a unit's part of a tile to the sum. */
void gan_add_unit(gan_combiner *c, int i, const gan_tile *t) {
    size_t at = 0, size;

    CHECK_FOR_INTERRUPTS();
    gan_pieces_seek(c->gradients, c->list->units[i], t->shard, t->piece);
    for (int32 piece = t->piece; piece < t->end; piece++) {
        const unsigned char *bytes = gan_pieces_next(c->gradients, &size);
        if (!bytes)
            gan_result_missing(c, i, t->shard);
        if (piece == 0) {
            check_header(c, i, t, bytes, size);
            bytes += BLOB_HEADER_SIZE;
            size -= BLOB_HEADER_SIZE;
        }
        if (size % sizeof(float) != 0 || size / sizeof(float) > t->last - t->first - at)
            gan_result_missing(c, i, t->shard);
        c->computed[i] = blob_crc32c_extend(c->computed[i], bytes, size);
        dcgan_mean_add(c->sum + at, (const float *)bytes, c->round.weight[i], size / sizeof(float));
        at += size / sizeof(float);
    }
    if (at != t->last - t->first)
        gan_result_missing(c, i, t->shard);
}

/* Makes a row for each account: the mean of its units, weighted by their images. */
void gan_gather_tile(gan_combiner *c, const gan_tile *t) {
    size_t count = t->last - t->first;

    for (size_t a = 0; a < c->list->account_count; a++) {
        memset(c->sum, 0, count * sizeof *c->sum);
        for (int i = c->first_unit[a]; i >= 0; i = c->next_unit[i])
            gan_add_unit(c, i, t);
        dcgan_mean_finish(c->rows + a * count, c->sum, count);
    }
}
