/*-------------------------------------------------------------------------
 *
 * worker.h
 *		Background workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_WORKER_H
#define PAYORDER_WORKER_H

extern void payorder_worker_register(void);
extern void payorder_worker_release_register(void);

#endif							/* PAYORDER_WORKER_H */
