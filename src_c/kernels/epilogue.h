/* The activation that is applied while an output is still in registers. */
#ifndef FC_KERNELS_EPILOGUE_H
#define FC_KERNELS_EPILOGUE_H

typedef enum { FC_ACT_NONE, FC_ACT_RELU, FC_ACT_RELU6, FC_ACT_LEAKY_RELU } fc_act_kind;
typedef struct fc_activation {
    fc_act_kind kind;
    double alpha;          /* slope of leaky ReLU below zero */
} fc_activation;
#endif
