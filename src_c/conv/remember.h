/* What this thread chose last, by problem: pricing every algorithm takes longer than a tiny problem.
 *
 * A choice follows from the problem, the instruction set and what the CPU is said to be, all of which are compared: to
 * remember changes nothing but the time. */
#ifndef FC_CONV_REMEMBER_H
#define FC_CONV_REMEMBER_H
#include "problem.h"

/* Who chose. */
typedef enum fc_chooser { FC_OF_CALL, FC_OF_PLAN, FC_OF_INPUT_GRAD, FC_OF_WEIGHT_GRAD } fc_chooser;

/* What was given to fc_remember for the same problem, or NULL. */
const void *fc_recall(const fc_conv *conv, fc_chooser chooser);
void fc_remember(const fc_conv *conv, fc_chooser chooser, const void *choice);
#endif
