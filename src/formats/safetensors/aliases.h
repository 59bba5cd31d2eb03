/*
 * aliases.h - the names that other programs give to the tensors of a DCGAN
 */
#ifndef GANN_TENSOR_ALIASES_H
#define GANN_TENSOR_ALIASES_H

#include "safetensors.h"

/*
 * Gives a file's tensors the names of networks.h if they have other names: DataParallel,
 * torch.compile and FSDP add their wrappers' names; programs call the networks netG, G, gen or the
 * like, and have another name for main. An unknown name stays unchanged. Returns 0, or -1 with the
 * error filled if two tensors would get the same name.
 */
int checkpoint_rename(safetensors_file *file, char *error, size_t error_size);

#endif
