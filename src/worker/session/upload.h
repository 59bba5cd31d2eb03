/*
 * upload.h - the shards of a unit's result on their way to the server, from the moment each is
 * final
 *
 * Call upload_begin() before a unit is computed; upload_advance() whenever there may be something
 * to send or an answer came; upload_complete() when the unit is computed, then upload_advance()
 * until upload_sent(); and at last, in any case, upload_end(). Only upload_end() waits. All calls
 * come from one thread.
 */
#ifndef GANN_UPLOAD_H
#define GANN_UPLOAD_H

#include "../../formats/wire/blob.h"
#include "../../student/compute.h"
#include "../net/protocol.h"

typedef struct upload upload;

/* Allocates for a model and the element type of its results; NULL when memory is short. */
upload *upload_new(const dcgan_model *model, blob_element element);
void upload_free(upload *u);

/* Begins with a claim for these networks; nothing is sent yet. The claim and the computation must
 * stay valid. */
void upload_begin(upload *u, server *s, const server_claim *claim, dcgan_networks networks,
                  const compute *c);

/* Says that the result is complete: the rest can be sent. */
void upload_complete(upload *u, const dcgan_unit_result *result);

/* Takes answers, and sends final shards while not too many are under way. After a failure nothing
 * more is sent. */
void upload_advance(upload *u);

/* Tells whether everything is sent, answered or not. */
bool upload_sent(const upload *u);

/* Returns the worst failure of an upload so far, and whether the server called one stale. */
server_status upload_status(const upload *u);
bool upload_stale(const upload *u);

/* Forgets failures, so that missing parts are sent again; if everything is set, stored ones,
 * too. */
void upload_again(upload *u, bool everything);

/*
 * Keeps the rounding error of an accepted unit for the next one; the result must still be there.
 * For a refused or stale unit don't call it: nothing of that unit counts, and the old residual is
 * still to be sent.
 */
void upload_accepted(upload *u);

/* Waits for the statements under way, and discards their answers. */
void upload_end(upload *u);

#endif
