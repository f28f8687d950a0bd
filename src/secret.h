/*-------------------------------------------------------------------------
 *
 * secret.h
 *		Secrets, by references that say where they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_SECRET_H
#define PAYORDER_SECRET_H

#include "crypto.h"

/*
 * What a reference stands for.  It lies in the current memory context and is
 * overwritten when that is reset or deleted, also by an error's cleaning up;
 * so the context should be one that is deleted as soon as it has served.
 */
extern Bytes payorder_secret(const char *reference);
extern uint8 *payorder_secret_memory(size_t size);
extern MemoryContext payorder_secrets_context(void);

/* Keeps a sealed secret from being dropped until the transaction's end. */
extern void payorder_hold_secret(const char *reference);

/*
 * Of what SQL gives as a reference: raises for all that is none, or is one to
 * within the database where it must not be.
 */
extern void payorder_check_reference(const char *reference,
									 const char *argument);
extern void payorder_check_outside(const char *reference,
								   const char *argument);

pg_attribute_noreturn() extern void payorder_bad_secret(const char *reference,
														const char *detail,
														const char *hint);

/* ---- between secret.c and secret_seal.c ---- */

#define LONGEST_SECRET_NAME	128
extern bool payorder_is_secret_name(const char *name);
extern bool payorder_is_outside(const char *reference);
extern Bytes payorder_whole_secret(const char *reference);
extern Bytes payorder_without_newline(Bytes secret);
extern Bytes payorder_unseal(const char *reference, const char *name);
extern void payorder_hold_sealed(const char *reference, const char *name);

#endif							/* PAYORDER_SECRET_H */
