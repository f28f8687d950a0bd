/*-------------------------------------------------------------------------
 *
 * guard_view.c
 *		What is guarded: the triggers of guards, read for the view guarded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_trigger.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "guard.h"
#include "relation.h"

PG_FUNCTION_INFO_V1(payorder_guard_of);

/* The table of a trigger, InvalidOid if there is none of that OID. */
static Oid
table_of(Oid trigger)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	Oid			table = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		table = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return table;
}

static Datum
definition_row(FunctionCallInfo fcinfo, Oid table,
			   const GuardDefinition *definition)
{
	Datum		values[5];
	bool		nulls[5] = {0};

	values[0] = CStringGetTextDatum(get_attname(table, definition->state,
												false));
	values[1] = CStringGetTextDatum(definition->machine);
	values[2] = Int32GetDatum(definition->version);
	values[3] = CStringGetTextDatum(get_attname(table, definition->key,
												false));
	values[4] = BoolGetDatum(definition->log);
	return payorder_composite(fcinfo, values, nulls);
}

/* guard_of(trigger_id, OUT ...): what a trigger of a guard says, or NULL */
Datum
payorder_guard_of(PG_FUNCTION_ARGS)
{
	Oid			trigger = PG_GETARG_OID(0);
	Oid			table = table_of(trigger);
	Relation	relation = OidIsValid(table) ?
		try_relation_open(table, AccessShareLock) : NULL;
	GuardDefinition definition;
	Datum		result = (Datum) 0;

	for (int i = 0; relation != NULL && relation->trigdesc != NULL &&
		 i < relation->trigdesc->numtriggers; i++)
	{
		const Trigger *candidate = &relation->trigdesc->triggers[i];

		if (candidate->tgoid == trigger &&
			payorder_guard_definition(candidate, &definition))
			result = definition_row(fcinfo, table, &definition);
	}
	if (relation != NULL)
		relation_close(relation, AccessShareLock);
	if (result == (Datum) 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
