/*-------------------------------------------------------------------------
 *
 * gateway_provisional.c
 *		Provisional: which adapters there are, until gateway.c has its table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gateway_adapter.h"

static const Adapter wechatpay = {
	.name = "wechatpay", .verify_with = KEY_RSA, .decrypt_with = KEY_SECRET_32
};
static const Adapter alipay = {.name = "alipay", .verify_with = KEY_RSA};
static const Adapter adyen = {.name = "adyen", .verify_with = KEY_SECRET_HEX};
static const Adapter hmac = {.name = "hmac", .verify_with = KEY_SECRET};

static const Adapter *const adapters[] = {
	&payorder_adapter_stripe, &wechatpay, &alipay, &adyen, &hmac
};

extern const Adapter *payorder_adapter(const char *name);

const Adapter *
payorder_adapter(const char *name)
{
	for (size_t i = 0; i < lengthof(adapters); i++)
	{
		if (strcmp(adapters[i]->name, name) == 0)
			return adapters[i];
	}
	return NULL;
}
