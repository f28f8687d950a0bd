/*-------------------------------------------------------------------------
 *
 * gateway_key.h
 *		Keys of gateways: what verifies and decrypts their messages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GATEWAY_KEY_H
#define PAYORDER_GATEWAY_KEY_H

#include "utils/timestamp.h"

/* What an adapter verifies or decrypts with. */
typedef enum KeyKind
{
	KEY_NONE,
	KEY_SECRET,					/* any bytes, as they are in the secret */
	KEY_SECRET_HEX,				/* written as hex digits */
	KEY_SECRET_32,				/* exactly 32 bytes */
	KEY_RSA						/* a public key or certificate */
} KeyKind;

typedef enum KeyPurpose
{
	KEY_VERIFY,
	KEY_DECRYPT
} KeyPurpose;

typedef struct GatewayKey
{
	KeyPurpose	purpose;
	const char *key_id;			/* serial or id at the gateway, '' for none */
	uint8	   *bytes;			/* secret, or DER of the SubjectPublicKeyInfo */
	size_t		length;
} GatewayKey;

/*
 * The keys of a gateway that are valid at an instant, newest first.  They hold
 * secrets: payorder_forget_keys() as soon as they have served.
 */
extern GatewayKey *payorder_gateway_keys(const char *gateway, TimestampTz at,
										 int *count);
extern void payorder_forget_keys(GatewayKey *keys, int count);

/* What is done, in its transaction, when a gateway has got a key. */
typedef void (*KeyAdded) (const char *gateway);
extern void payorder_gateway_key_on_add(KeyAdded added);

#endif							/* PAYORDER_GATEWAY_KEY_H */
