/*-------------------------------------------------------------------------
 *
 * work.h
 *		A task's answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_WORK_H
#define PAYORDER_WORK_H

#include "task.h"

extern bool payorder_work_expire(const Task *task);
extern bool payorder_work_forgotten(const Task *task);

#endif							/* PAYORDER_WORK_H */
