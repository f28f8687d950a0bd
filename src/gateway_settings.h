/*-------------------------------------------------------------------------
 *
 * gateway_settings.h
 *		Settings of a gateway, as the rooms above need them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GATEWAY_SETTINGS_H
#define PAYORDER_GATEWAY_SETTINGS_H

typedef struct Gateway
{
	const char *name;
	bool		enabled;
	bool		paused;			/* payorder_gateway_is_paused() tells */
	bool		copy_matters;	/* whether this is a copy was not asked yet */
	bool		failed_is_final;
	bool		parallel_attempts;
	bool		require_attempt;
	int64		return_delay;	/* microseconds */
	int			auto_return_per_hour;
	int64	   *auto_return_amount; /* NULL: no limit by amount */
	bool		any_id_fits;	/* there is no pattern */
	const char *currency;		/* the one that was asked about */
	bool		pay_id_fits;	/* the given id has the form of a payment's */
	bool		currency_known; /* the given currency is one */
} Gateway;

/*
 * Whether this database is a copy: what was noted in payorder.installation is
 * another cluster (parameter) or database (parameter).  Nothing but an
 * adoption makes a copy send money.
 */
#define PAYORDER_IS_COPY(cluster, database) \
	"EXISTS (SELECT FROM payorder.installation AS i" \
	" WHERE i.system_identifier <> " cluster \
	" OR i.database_oid::bigint <> " database ")"

extern int64 payorder_cluster(void);
extern int64 payorder_database(void);
extern Gateway *payorder_gateway(const char *name, const char *txn_id,
								 const char *currency);
extern Gateway *payorder_gateway_again(Gateway *found, const char *name,
									   const char *txn_id,
									   const char *currency);
extern bool payorder_gateway_is_paused(Gateway *gateway);
extern bool payorder_gateway_paused_locked(const char *name);
extern int	payorder_currency_exponent(const char *currency);
extern bool payorder_currency_known(const char *currency);
extern bool payorder_decimal(const char *text, int exponent, int64 *amount);
extern void payorder_no_gateway(const char *name) pg_attribute_noreturn();

#endif							/* PAYORDER_GATEWAY_SETTINGS_H */
