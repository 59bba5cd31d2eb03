/*
 * aliases.h - the names that other programs give to the tensors of a DCGAN
 */
#ifndef GANN_TENSOR_ALIASES_H
#define GANN_TENSOR_ALIASES_H

#include "safetensors.h"

/*
 * Gives a file's tensors the names of networks.h, where they are called otherwise: DataParallel,
 * torch.compile and FSDP put their wrappers' names among the parts of a name; programs call the
 * networks netG, G, gen or the like, and their layers otherwise than main. What isn't understood
 * stays as it is. Returns 0, or -1 with the error filled if two tensors would have one name.
 */
int checkpoint_rename(safetensors_file *file, char *error, size_t error_size);

#endif
