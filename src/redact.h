/*-------------------------------------------------------------------------
 *
 * redact.h
 *		Card numbers and card verification codes, taken out of what is stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_REDACT_H
#define PAYORDER_REDACT_H

#include "json.h"

extern void payorder_redact(JsonNode *tree, const char *const *kept,
							int count);
extern char *payorder_redact_text(const char *text, const char *const *kept,
								  int count);

#endif							/* PAYORDER_REDACT_H */
