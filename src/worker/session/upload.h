/*
 * upload.h - the shards of a unit's result on their way to the server, from the moment each is
 * final
 *
 * upload_begin() before a unit is computed; upload_advance() whenever there may be something to
 * send or an answer came; upload_complete() when the unit is computed, then upload_advance() until
 * upload_sent(); upload_end() at last, always. Nothing here waits but upload_end(). All of it is
 * called by one thread.
 */
#ifndef GANN_UPLOAD_H
#define GANN_UPLOAD_H

#include "../../formats/wire/blob.h"
#include "../../student/compute.h"
#include "../net/protocol.h"

typedef struct upload upload;

/* Allocates for a model, whose results travel as some element type; NULL when memory is short. */
upload *upload_new(const dcgan_model *model, blob_element element);
void upload_free(upload *u);

/* Begins with a claim for these networks; nothing is sent yet. The claim and the computation must
 * stay. */
void upload_begin(upload *u, server *s, const server_claim *claim, dcgan_networks networks,
                  const compute *c);

/* Lets the rest go: the result is whole. */
void upload_complete(upload *u, const dcgan_unit_result *result);

/* Takes answers, and sends what is final as far as not too much is under way. After a failure
 * nothing more is sent. */
void upload_advance(upload *u);

/* Tells whether all is sent, answered or not. */
bool upload_sent(const upload *u);

/* Returns the worst failure of an upload so far, and whether the server called one stale. */
server_status upload_status(const upload *u);
bool upload_stale(const upload *u);

/* Forgets failures, so that what is missing is sent again; with everything, also what was
 * stored. */
void upload_again(upload *u, bool everything);

/*
 * Keeps what rounding took away of a unit that was accepted, for the next one; the result must
 * still be there. Of a unit that is refused or stale nothing arrived, and what was left before it
 * is still to be sent.
 */
void upload_accepted(upload *u);

/* Waits for what is under way and gives it up. */
void upload_end(upload *u);

#endif
