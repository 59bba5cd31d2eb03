/*
 * mean.c - the mean: every image counts as much as any other
 */
#include "rules.h"

const dcgan_rule dcgan_rule_mean = {
    .name = "mean",
    .meaning = "every image counts as much as any other",
    .weigh = dcgan_weigh_by_images,
};
