/*-------------------------------------------------------------------------
 *
 * removal.h
 *		Whether rows that are kept are just being removed by purge().
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_REMOVAL_H
#define PAYORDER_REMOVAL_H

extern bool payorder_in_removal(void);
extern void payorder_remove(void (*work) (void *), void *argument);

#endif							/* PAYORDER_REMOVAL_H */
