/*-------------------------------------------------------------------------
 *
 * order_trigger.h
 *		How the triggers of payorder.orders know the kernel's own writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_ORDER_TRIGGER_H
#define PAYORDER_ORDER_TRIGGER_H

struct Order;

/* The write that the kernel is just doing: the order as it shall be. */
typedef struct KernelWrite
{
	const struct Order *order;	/* NULL: none */
} KernelWrite;

extern KernelWrite payorder_begin_kernel_write(const struct Order *order);
extern void payorder_end_kernel_write(KernelWrite before);
extern bool payorder_in_kernel_write(const char *order_no);

#endif							/* PAYORDER_ORDER_TRIGGER_H */
