/*-------------------------------------------------------------------------
 *
 * guard.h
 *		The machine on users' own tables: what its triggers' definitions say.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PAYORDER_GUARD_H
#define PAYORDER_GUARD_H

#include "access/attnum.h"
#include "access/htup.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

/* The third argument of a trigger that writes to payorder.guard_events. */
#define GUARD_LOGS	"log"

typedef struct GuardDefinition
{
	const char *machine;
	int			version;
	bool		log;
	AttrNumber	state;			/* of the trigger's own table */
	AttrNumber	key;
} GuardDefinition;

#define NO_STATE	(-1)		/* NULL, or unknown to the machine */

/* A label of an enum that is a state. */
typedef struct Label
{
	Oid			oid;
	int			state;
} Label;

typedef struct Way
{
	int			from;
	int			to;
	const char *event;
} Way;

/* What is kept of a trigger. */
typedef struct KeptGuard
{
	Oid			trigger;		/* hash key */

	/* what its definition says, as the table is now */
	bool		defined;
	bool		log;
	bool		is_partition;
	AttrNumber	state;
	AttrNumber	key;
	NameData	column;			/* of the state */
	Oid			type;			/* of the state, of a domain its base */
	Oid			relation;
	Oid			root;			/* of a partition the topmost table */
	ExprState	when;

	/* the machine, compiled for a type */
	bool		compiled;
	MemoryContext memory;
	const char *machine;
	int			version;
	Oid			compiled_type;
	int			state_count;
	int			initial;
	const char **states;		/* in the order of their names */
	int			label_count;
	Label	   *labels;			/* in the order of OIDs, NULL: it is text */
	bits8	   *allowed;		/* bit from * state_count + to */
	int			way_count;
	Way		   *ways;			/* by from, then event */
} KeptGuard;

extern bool payorder_guard_definition(const Trigger *trigger,
									  GuardDefinition *definition);

extern KeptGuard *payorder_kept_guard(Oid trigger);
extern void payorder_guard_prepare(KeptGuard *guard, Relation relation,
								   const Trigger *trigger, Oid function);
extern int	payorder_guard_state(const KeptGuard *guard, Datum value,
								 bool isnull);
extern bool payorder_guard_allows(const KeptGuard *guard, int from, int to);
extern bool payorder_is_moved(HeapTuple row);
extern void payorder_guard_register(void);

#endif							/* PAYORDER_GUARD_H */
