/*-------------------------------------------------------------------------
 *
 * guc.h
 *		Settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GUC_H
#define PAYORDER_GUC_H

/* The values of payorder.row_access. */
typedef enum RowAccess
{
	ROW_ACCESS_KEYED,
	ROW_ACCESS_SQL
} RowAccess;

extern int	payorder_lock_wait;
extern int	payorder_park_alert;
extern int	payorder_park_limit;
extern int	payorder_poll_interval;
extern int	payorder_full_sweep_interval;
extern int	payorder_max_body;
extern int	payorder_min_sync;
extern int	payorder_row_access;
extern bool payorder_store_body;
extern char *payorder_databases;
extern char *payorder_trace;
extern char *payorder_secret_directory;
extern char *payorder_seal_key;

extern const char *payorder_current_trace(void);
extern void payorder_require_sync(void);
extern void payorder_define_settings(void);

#endif							/* PAYORDER_GUC_H */
