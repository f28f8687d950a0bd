/*-------------------------------------------------------------------------
 *
 * amount.c
 *		Decimal amounts, as shops and gateways write them, and minor units.
 *
 * An amount is read and written exactly or not at all: never rounded, never
 * by way of a floating point number.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "errors.h"
#include "gateway_settings.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_parse_amount);
PG_FUNCTION_INFO_V1(payorder_format_amount);

static Statement get_exponent = {
	.sql = "SELECT c.exponent, (SELECT (g.exponents ->> $1)::integer"
	" FROM payorder.gateways AS g WHERE g.gateway = $2),"
	" EXISTS (SELECT FROM payorder.gateways AS g WHERE g.gateway = $2)"
	" FROM payorder.currencies AS c WHERE c.currency = $1",
	.arguments = "tt"
};

/* How many decimals a currency has, at a gateway (NULL: by ISO 4217). */
static int
exponent_of(const char *currency, const char *gateway)
{
	Rows	   *rows = payorder_query(&get_exponent, currency, gateway);
	Cell	   *cells = rows->cells;

	if (rows->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("unknown currency"),
				 errhint("Give an ISO 4217 code in capitals; see payorder.currencies.")));
	if (gateway != NULL && !cells[2].truth)
		payorder_no_gateway(gateway);
	return cells[1].isnull ? cells[0].number : cells[1].number;
}

static bool
add_digit(int64 *amount, int digit)
{
	return !pg_mul_s64_overflow(*amount, 10, amount) &&
		!pg_sub_s64_overflow(*amount, digit, amount);
}

/* The digits at *next; false if there is none or the amount gets too large. */
static bool
add_digits(int64 *amount, const char **next)
{
	const char *first = *next;

	while (**next >= '0' && **next <= '9')
	{
		if (!add_digit(amount, *(*next)++ - '0'))
			return false;
	}
	return *next > first;
}

/*
 * "19.90" with two decimals is 1990.  False unless it is written so, with no
 * more decimals than that, and fits.  Gathered below zero, for the smallest.
 */
bool
payorder_decimal(const char *text, int exponent, int64 *amount)
{
	const char *next = text[0] == '-' ? text + 1 : text;
	const char *point = NULL;
	int			decimals = 0;

	*amount = 0;
	if (!add_digits(amount, &next))
		return false;
	if (*next == '.')
	{
		point = next++;
		if (!add_digits(amount, &next) || next - point - 1 > exponent)
			return false;
		decimals = next - point - 1;
	}
	for (; decimals < exponent; decimals++)
	{
		if (!add_digit(amount, 0))
			return false;
	}
	if (*next != '\0' || (text[0] != '-' && *amount == PG_INT64_MIN))
		return false;
	if (text[0] != '-')
		*amount = -*amount;
	return true;
}

Datum
payorder_parse_amount(PG_FUNCTION_ARGS)
{
	char	   *text = payorder_required_text(fcinfo, 0, "amount");
	char	   *currency = payorder_required_text(fcinfo, 1, "currency");
	int64		amount;

	if (!payorder_decimal(text, exponent_of(currency, payorder_text_argument(fcinfo, 2)),
						  &amount))
		ereport(ERROR,
				(errcode(ERRCODE_PO_AMOUNT_INVALID),
				 errmsg("amount has a wrong form or is too large"),
				 errhint("Give digits, and after a point no more decimals than the currency has.")));
	PG_RETURN_INT64(amount);
}

Datum
payorder_format_amount(PG_FUNCTION_ARGS)
{
	char		digits[32];
	int64		amount;
	char	   *currency = payorder_required_text(fcinfo, 1, "currency");
	int			exponent;
	bool		negative;
	int			length;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("amount must not be null"),
				 errhint("Give it in minor units.")));
	amount = PG_GETARG_INT64(0);
	exponent = exponent_of(currency, payorder_text_argument(fcinfo, 2));
	negative = amount < 0;
	snprintf(digits, sizeof(digits), "%0*llu", exponent + 1,
			 negative ? 0 - (unsigned long long) amount :
			 (unsigned long long) amount);
	length = strlen(digits) - exponent;
	PG_RETURN_TEXT_P(cstring_to_text(exponent == 0 ?
									 psprintf("%s%s", negative ? "-" : "", digits) :
									 psprintf("%s%.*s.%s", negative ? "-" : "",
											  length, digits, digits + length)));
}
