/*
 * room.c - gets the step an exclusive lock on a partition
 *
 * TRUNCATE, and overwriting old pages, need a partition that no other session has open. A student
 * could keep it open by a pipeline that names it and never ends, or by not reading an answer. The
 * protocol's functions release their locks before they return (gan_pieces_release) and the guard
 * refuses the rest. So a student's session that still has a lock after GRACE_MS has no good reason
 * for it, and is ended. Other sessions (pg_dump, the instructor's) are not ended: then the step
 * deletes the rows, appends the new ones, and gives the space back later.
 */
#include "store.h"
#include "../guard/guard.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/sinvaladt.h"
#include "utils/lsyscache.h"

#include <signal.h>

#define GRACE_MS 500 /* a call's own lock lasts a few milliseconds */
#define WAIT_MS 3000 /* for students' sessions to end */
#define PAUSE_MS 10

/* Tells whether students' sessions have a lock on a relation; ends them if asked to. */
static bool students_hold(Oid relation, bool end) {
    VirtualTransactionId *holders;
    bool found = false;
    LOCKTAG tag;
    int count;

    SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
    holders = GetLockConflicts(&tag, AccessExclusiveLock, &count);
    for (int i = 0; i < count; i++) {
        PGPROC *session = BackendIdGetProc(holders[i].backendId);
        if (!session || session->pid == 0 || !gan_is_student(session->roleId))
            continue;
        found = true;
        if (!end)
            continue;
        ereport(LOG, (errmsg("session %d of student \"%s\" is ended: it keeps a lock on %s, which "
                             "the step needs",
                             session->pid, GetUserNameFromId(session->roleId, true),
                             get_rel_name(relation))));
        (void)kill(session->pid, SIGTERM); /* it may have ended by itself */
    }
    pfree(holders);
    return found;
}

/* Locks a partition exclusively for this transaction; false if a session that is not a student's
 * has it open. */
bool gan_take_alone(Oid relation) {
    for (int waited = 0; waited < WAIT_MS; waited += PAUSE_MS) {
        if (ConditionalLockRelationOid(relation, AccessExclusiveLock))
            return true;
        if (!students_hold(relation, waited >= GRACE_MS))
            break;
        CHECK_FOR_INTERRUPTS();
        pg_usleep(PAUSE_MS * 1000L);
    }
    return ConditionalLockRelationOid(relation, AccessExclusiveLock);
}
