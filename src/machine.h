/*-------------------------------------------------------------------------
 *
 * machine.h
 *		State machines: definitions and their cache.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_MACHINE_H
#define PAYORDER_MACHINE_H

#include "postgres.h"

struct Order;

typedef enum TimerAction
{
	TIMER_FIRE,
	TIMER_ENQUEUE,
	TIMER_ALARM
} TimerAction;

/* A way from one state to another; several of one event are candidates. */
typedef struct Edge
{
	const char *event;
	int			candidate;
	const char *to;
	const char *guard;			/* NULL: none */
	bool		by_timer;
	int64		within;			/* microseconds from closed_at, 0: no limit */
	const char *stock;			/* NULL: none */
	const char **enqueue;		/* task kinds, ended by NULL */
	const char **alarm;			/* causes, ended by NULL */
} Edge;

/* Something that becomes due some time after its state was entered. */
typedef struct StateTimer
{
	int			number;
	int64		after;			/* microseconds */
	const char *parameter;		/* whose value "after" is, NULL: none */
	TimerAction action;
	const char *argument;		/* event, task kind or cause */
	const char *guard;
	int64		retry;			/* microseconds, 0: no retry */
} StateTimer;

typedef struct State
{
	const char *name;
	bool		final;
	const char **enqueue;		/* on entry: task kinds, ended by NULL */
	const char **alarm;			/* on entry: causes, ended by NULL */
	int			edge_count;
	Edge	   *edges;			/* by event, then candidate */
	int			timer_count;
	StateTimer *timers;
} State;

typedef struct Machine
{
	int			id;
	const char *name;
	int			version;
	const char *initial;
	int			state_count;
	State	   *states;
} Machine;

typedef bool (*Guard) (struct Order *order);
typedef void (*FanOut) (struct Order *order);

extern const Machine *payorder_machine(int id);
extern int	payorder_machine_newest(const char *name);
extern int	payorder_machine_version(const char *name, int version);
extern const State *payorder_machine_state(const Machine *machine,
										   const char *name);
extern const Edge *payorder_state_edge(const State *state, const char *event);
extern bool payorder_is_money_event(const char *event);
extern const State **payorder_machine_walk(const Machine *machine);
extern char *payorder_machine_scxml(const Machine *machine);
extern bool payorder_machine_is_plain(const Machine *machine);

extern void payorder_register_guard(const char *name, Guard guard);
extern bool payorder_guard_exists(const char *name);
extern bool payorder_guard_holds(const char *name, struct Order *order);
extern void payorder_register_fan_out(const char *task_kind, FanOut fan_out);
extern FanOut payorder_fan_out(const char *task_kind);

#endif							/* PAYORDER_MACHINE_H */
