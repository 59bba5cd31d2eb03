/*
 * result.h - checks the result of a unit (docs/format.md, section 7)
 */
#ifndef GANN_RESULT_H
#define GANN_RESULT_H

#include "../run/run.h"

#include "utils/uuid.h"

/* The largest norm of a unit's batch-norm statistics. */
#define GAN_STATISTICS_LIMIT 1e6

extern bool gan_variances_possible(const dcgan_model *model, const float *statistics);
extern char *gan_shard_problem(const gan_run *run, int32 shard, const float *values, double limit,
                               double *squares);
extern void gan_refusal_remember(int64 unit, const pg_uuid_t *token, const char *why);
extern void gan_refusal_note(void);

#endif
