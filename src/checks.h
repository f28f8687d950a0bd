/*-------------------------------------------------------------------------
 *
 * checks.h
 *		CHECK constraints and trigger conditions, compiled once per session.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_CHECKS_H
#define PAYORDER_CHECKS_H

#include "nodes/execnodes.h"

extern bool payorder_calls_users(Node *node);
extern void payorder_checks_hand_over(ResultRelInfo *info);
extern void payorder_checks_register(void);

#endif							/* PAYORDER_CHECKS_H */
