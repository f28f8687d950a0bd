/*-------------------------------------------------------------------------
 *
 * wake.c
 *		Wakes the database's worker when a commit made something due.
 *
 * What arms a timer or a task says when it is due; at commit, if that is
 * before the instant until which the database's worker sleeps, its latch is
 * set.  No NOTIFY, so that PREPARE TRANSACTION works; COMMIT PREPARED wakes
 * nobody and is found by polling, and so is a wake-up that comes too late.
 * A commit that made something due at an instant that has passed leaves that
 * instant for the worker, which may have looked beyond it.
 *
 * Shared memory exists only where the library is preloaded: a small array of
 * slots, one for each worker, under one LWLock.  A slot is taken by a worker
 * at its start and given back when it exits; a slot whose process died with
 * the server goes with the memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "wake.h"

#define MOST_WORKERS	128		/* two of each database */
#define MOST_WANTED		16

typedef struct Slot
{
	Oid			database;		/* InvalidOid: free */
	Latch	   *latch;
	TimestampTz sleeping_until;
	TimestampTz armed;			/* made due in the past since the last look */
	bool		let_go;			/* its database is wanted by a command */
} Slot;

/* A database that no worker is to be started for, until the command ends. */
typedef struct Wanted
{
	int			by;				/* process id; 0: free */
	char		database[NAMEDATALEN];
} Wanted;

typedef struct WakeMemory
{
	LWLock	   *lock;
	Slot		slots[MOST_WORKERS];
	Wanted		wanted[MOST_WANTED];
} WakeMemory;

static WakeMemory *memory = NULL;
static Slot *own_slot = NULL;
static TimestampTz earliest = DT_NOEND;
static bool callback_registered = false;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static void
request_memory(void)
{
	if (previous_request)
		previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(WakeMemory)));
	RequestNamedLWLockTranche("payorder", 1);
}

static void
attach_memory(void)
{
	bool		found;

	if (previous_startup)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = ShmemInitStruct("payorder", sizeof(WakeMemory), &found);
	if (!found)
	{
		memset(memory, 0, sizeof(WakeMemory));
		memory->lock = &GetNamedLWLockTranche("payorder")->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Called while the postmaster loads the library. */
void
payorder_wake_request_memory(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
}

static void
wake_worker(TimestampTz due)
{
	bool		past = due <= GetCurrentTimestamp();

	LWLockAcquire(memory->lock, past ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = 0; i < MOST_WORKERS; i++)
	{
		Slot	   *slot = &memory->slots[i];

		if (slot->database != MyDatabaseId)
			continue;
		if (past)
			slot->armed = Min(slot->armed, due);
		if (due < slot->sleeping_until)
			SetLatch(slot->latch);
	}
	LWLockRelease(memory->lock);
}

static void
at_transaction_end(XactEvent event, void *argument)
{
	if (earliest == DT_NOEND)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		wake_worker(earliest);
		earliest = DT_NOEND;
	}
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		earliest = DT_NOEND;
}

/* Notes that the transaction, if it commits, made something due then. */
void
payorder_wake_at(TimestampTz due)
{
	if (memory == NULL)
		return;
	if (!callback_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		callback_registered = true;
	}
	if (due < earliest)
		earliest = due;
}

static void
detach(int code, Datum argument)
{
	if (own_slot == NULL)
		return;
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	own_slot->database = InvalidOid;
	own_slot->latch = NULL;
	own_slot = NULL;
	LWLockRelease(memory->lock);
}

/*
 * Makes this process one that is woken for its database, where the library is
 * preloaded and a slot is free; it polls all the same.
 */
void
payorder_wake_attach(void)
{
	Slot	   *free_slot = NULL;

	if (memory == NULL)
		return;
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MOST_WORKERS; i++)
	{
		Slot	   *slot = &memory->slots[i];

		if (!OidIsValid(slot->database) && free_slot == NULL)
			free_slot = slot;
	}
	if (free_slot != NULL)
	{
		free_slot->database = MyDatabaseId;
		free_slot->latch = MyLatch;
		free_slot->sleeping_until = DT_NOBEGIN;
		free_slot->armed = DT_NOBEGIN;
		free_slot->let_go = false;
		own_slot = free_slot;
	}
	LWLockRelease(memory->lock);
	if (own_slot != NULL)
		before_shmem_exit(detach, (Datum) 0);
}

/*
 * The earliest instant in the past at which a commit made something due since
 * this was asked, DT_NOEND: there was none.  To be asked before the snapshot
 * with which the worker looks.  DT_NOBEGIN: nobody tells this process.
 */
TimestampTz
payorder_wake_armed(void)
{
	TimestampTz armed;

	if (own_slot == NULL)
		return DT_NOBEGIN;
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	armed = own_slot->armed;
	own_slot->armed = DT_NOEND;
	LWLockRelease(memory->lock);
	return armed;
}

/* Whether this worker's database is wanted by a command. */
bool
payorder_wake_told_to_go(void)
{
	return own_slot != NULL && own_slot->let_go;
}

static void
forget_wanted(int code, Datum argument)
{
	payorder_wake_take_up();
}

/*
 * Has a database's worker end, and none started until payorder_wake_take_up()
 * or the end of this process.  With too many at a time the launcher may be
 * faster, and the command is to be repeated.
 */
void
payorder_wake_let_go(const char *name, Oid database)
{
	static bool registered = false;
	bool		noted = false;

	if (memory == NULL)
		return;
	if (!registered)
		before_shmem_exit(forget_wanted, (Datum) 0);
	registered = true;
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MOST_WANTED && !noted; i++)
	{
		if (memory->wanted[i].by != 0)
			continue;
		memory->wanted[i].by = MyProcPid;
		strlcpy(memory->wanted[i].database, name, NAMEDATALEN);
		noted = true;
	}
	for (int i = 0; i < MOST_WORKERS; i++)
	{
		Slot	   *slot = &memory->slots[i];

		if (slot->database != database)
			continue;
		slot->let_go = true;
		SetLatch(slot->latch);
	}
	LWLockRelease(memory->lock);
}

/* The command has ended: workers may be started again. */
void
payorder_wake_take_up(void)
{
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MOST_WANTED; i++)
	{
		if (memory->wanted[i].by == MyProcPid)
			memory->wanted[i].by = 0;
	}
	LWLockRelease(memory->lock);
}

/* Whether a command wants this database. */
bool
payorder_wake_is_let_go(const char *name)
{
	bool		wanted = false;

	if (memory == NULL)
		return false;
	LWLockAcquire(memory->lock, LW_SHARED);
	for (int i = 0; i < MOST_WANTED; i++)
		wanted |= memory->wanted[i].by != 0 &&
			strcmp(memory->wanted[i].database, name) == 0;
	LWLockRelease(memory->lock);
	return wanted;
}

/*
 * Says until when this worker is going to sleep.  To be called before the
 * last look at what is due, so that a commit between the look and the sleep
 * sets the latch.
 */
void
payorder_wake_sleeping_until(TimestampTz until)
{
	if (own_slot == NULL)
		return;
	LWLockAcquire(memory->lock, LW_EXCLUSIVE);
	own_slot->sleeping_until = until;
	LWLockRelease(memory->lock);
}
