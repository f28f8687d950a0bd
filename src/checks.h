/*-------------------------------------------------------------------------
 *
 * checks.h
 *		CHECK constraints and trigger conditions, compiled once per session.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_CHECKS_H
#define PAYORDER_CHECKS_H

extern void payorder_checks_register(void);
extern void payorder_checks_free_outdated(void);

#endif							/* PAYORDER_CHECKS_H */
