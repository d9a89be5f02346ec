/* Declares the public table for _core, which wraps it in a capsule. */
#ifndef FC_CONV_PUBLIC_H
#define FC_CONV_PUBLIC_H
#include "../include/fastconv.h"

extern const fastconv_api fc_public_api;
#endif
