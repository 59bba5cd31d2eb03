/*
 * average.c - the exponential moving average of weights (Polyak and Juditsky 1992; of GANs'
 * generators Yazici et al. 2019)
 */
#include "../dcgan.h"

double dcgan_average_decay(double decay, uint32_t iteration) {
    double steps = (double)iteration + 1, early = (1 + steps) / (10 + steps);
    return early < decay ? early : decay;
}

void dcgan_average(real *average, const real *weights, size_t count, double decay) {
    const real rate = (real)(1 - decay);

    for (size_t j = 0; j < count; j++)
        average[j] += rate * (weights[j] - average[j]);
}
