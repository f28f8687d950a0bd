/*-------------------------------------------------------------------------
 *
 * errors.h
 *		SQLSTATEs of class PO, one for each thing that a caller can act on.
 *
 * They are listed with their meaning in doc/errors.md; a code is never used
 * for a second meaning.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_ERRORS_H
#define PAYORDER_ERRORS_H

#include "utils/elog.h"

#define ERRCODE_PO_TRANSITION_REFUSED	MAKE_SQLSTATE('P','O','0','0','1')
#define ERRCODE_PO_NO_SUCH_ORDER		MAKE_SQLSTATE('P','O','0','0','2')
#define ERRCODE_PO_ORDER_EXISTS			MAKE_SQLSTATE('P','O','0','0','3')
#define ERRCODE_PO_MACHINE_INVALID		MAKE_SQLSTATE('P','O','0','0','4')
#define ERRCODE_PO_AMOUNT_INVALID		MAKE_SQLSTATE('P','O','0','0','5')
#define ERRCODE_PO_REFUND_EXCEEDS		MAKE_SQLSTATE('P','O','0','0','6')
#define ERRCODE_PO_LEASE_LOST			MAKE_SQLSTATE('P','O','0','0','8')
#define ERRCODE_PO_VERSION_STALE		MAKE_SQLSTATE('P','O','0','0','9')
#define ERRCODE_PO_NO_GATEWAY			MAKE_SQLSTATE('P','O','0','1','0')
#define ERRCODE_PO_KEY_CONFIGURATION	MAKE_SQLSTATE('P','O','0','1','1')
#define ERRCODE_PO_KEY_REUSED			MAKE_SQLSTATE('P','O','0','1','4')
#define ERRCODE_PO_SECOND_PERSON		MAKE_SQLSTATE('P','O','0','1','5')
#define ERRCODE_PO_MONEY_EDGE			MAKE_SQLSTATE('P','O','0','1','6')
#define ERRCODE_PO_GIVEN_UP				MAKE_SQLSTATE('P','O','0','1','7')
/* within the library only: an adapter does not take a message */
#define ERRCODE_PO_REJECTED				MAKE_SQLSTATE('P','O','0','1','8')

#define LONGEST_SHOWN	512			/* bytes; an id has 128 characters */
extern const char *payorder_shown(const char *text);

#define LONGEST_KEY		512			/* characters */
extern void payorder_check_key(const char *text, const char *name);

#endif							/* PAYORDER_ERRORS_H */
