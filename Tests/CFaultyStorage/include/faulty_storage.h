#pragma once
// A machine whose storage fails as a test tells it to: a VFS of SQLite (https://www.sqlite.org/vfs.html) over an
// in-memory file system that knows which bytes a program sees and which have reached the medium.
//
// What the medium does:
// - What was written, truncated, created or deleted is seen at once by every open file of the machine. It is on the
//   medium for certain only after a sync of the file, or of the folder for names. All files lie in one folder.
// - A power cut ends the program. Each sector of 512 bytes that was changed since its last sync then holds its old
//   content, its newest content, or any content that it had in between, and so do the file's size and the folder's
//   entries, each on its own: writes are lost, reordered and torn. A sector itself is never torn, and what lies beside
//   the bytes that were written is never harmed (SQLITE_IOCAP_POWERSAFE_OVERWRITE, which SQLite assumes on Unix).
// - A sector in which nothing arrived although the file's size did holds zeros or noise. It never holds what another
//   file held: no journaling file system shows the old content of a freed block (ext4 with its default data=ordered).
// - After a failed sync, the pages that it should have written count as clean: later syncs do not write them again, as
//   on Linux.
// - Locks and shared memory go with the program that held them.
//
// Each write, truncation, creation, deletion and sync is one operation. They are counted from 1, and recorded: a test
// can run a program once and then look at the medium after a cut at each of them.
//
// Every function may be called on any thread.
#include <stdbool.h>
#include <stdint.h>

typedef struct vigie_machine vigie_machine;

// Makes a machine without files, and registers its VFS. Null without memory.
vigie_machine *vigie_machine_new(void);
// Gives the machine up; its memory goes when the last of its files is closed.
void vigie_machine_free(vigie_machine *machine);
// The name of its VFS for sqlite3_open_v2(). Valid as long as the machine.
const char *vigie_machine_vfs(const vigie_machine *machine);

typedef enum {
    VIGIE_NO_OPERATION,
    VIGIE_WRITE,
    VIGIE_TRUNCATE,
    VIGIE_SYNC,
    VIGIE_CREATE,
    VIGIE_DELETE,
    VIGIE_SYNC_FOLDER,
    VIGIE_IGNORED_SYNC,
} vigie_operation_kind;

// How many operations there were since the machine was made or last restarted.
int64_t vigie_machine_operations(vigie_machine *machine);
// What the n-th of them was, and on which file ("" for the folder).
vigie_operation_kind vigie_machine_operation(vigie_machine *machine, int64_t n, char *name, int capacity);

// Cuts the power at operation n: the operation may arrive in part, and its call and all later ones fail with
// SQLITE_IOERR. 0: now; INT64_MAX: never.
void vigie_machine_cut_at(vigie_machine *machine, int64_t n);
bool vigie_machine_has_power(vigie_machine *machine);
// Cuts the power, if that has not happened, and starts the machine again with what the seed makes arrive. Files that
// were open stay so but answer SQLITE_IOERR to everything.
void vigie_machine_restart(vigie_machine *machine, uint64_t seed);
// Ends the program alone: files that were open answer SQLITE_IOERR, locks go, everything written is seen by the next
// program and still waits for its sync. After a cut the machine has power again: the cut was the program's end.
void vigie_machine_kill(vigie_machine *machine);
// Another machine that holds what a power cut at operation n leaves of this one; n may be one more than there were. The
// images must be taken in the order of n, and no sync after n may have failed. Null without memory.
vigie_machine *vigie_machine_image(vigie_machine *machine, int64_t n, uint64_t seed);

typedef enum {
    VIGIE_NO_FOREIGN_LOCK,
    VIGIE_FOREIGN_WRITER,     // another process is in a write transaction: who wants to write gets SQLITE_BUSY
    VIGIE_FOREIGN_EXCLUSIVE,  // nor may connections be made
} vigie_foreign_lock;

// Calls of one kind fail with SQLITE_IOERR: `count` of them after the next `after`.
typedef struct {
    int64_t after;
    int64_t count;
} vigie_failing;

// What is wrong with the storage from now on. All zero: nothing, except that `capacity` must then be negative.
typedef struct {
    vigie_failing reads, writes, syncs;
    int64_t capacity;  // bytes that all files together may hold, beyond which SQLITE_FULL; negative: any number
    bool is_read_only;
    bool ignores_syncs;  // syncs report success and do nothing: storage that lies
    vigie_foreign_lock foreign_lock;
} vigie_faults;

void vigie_machine_set_faults(vigie_machine *machine, vigie_faults faults);
// Microseconds that SQLite wanted to sleep, as it does while another has the lock; it is not made to wait.
int64_t vigie_machine_slept(vigie_machine *machine);

// The size of a file as programs see it; -1 if there is none.
int64_t vigie_machine_file_size(vigie_machine *machine, const char *name);
// Copies up to `count` bytes from the file's start; returns how many.
int64_t vigie_machine_read_file(vigie_machine *machine, const char *name, uint8_t *bytes, int64_t count);
// Puts a file on the medium with this content, in place of what was there. No operation, and not for a file in use.
bool vigie_machine_put_file(vigie_machine *machine, const char *name, const uint8_t *bytes, int64_t count);
// Takes a file away for good. No operation.
void vigie_machine_remove_file(vigie_machine *machine, const char *name);
// A file is written once more with what it holds, by the program itself: one operation. False if the power is gone.
bool vigie_machine_rewrite(vigie_machine *machine, const char *name);
// fsync(2) of a file or, where the name is empty, of the folder, by the program itself: one operation. False if the
// power is gone.
bool vigie_machine_sync(vigie_machine *machine, const char *name);

// ---- Real files
//
// A file with sectors that cannot be read, as a worn card has them: SQLite's reads of them fail with EIO. Only its own
// reads do (xSetSystemCall in https://www.sqlite.org/c3ref/vfs.html).

// Makes the bytes from `from` up to but without `to` unreadable, in place of those of an earlier call. False if there is
// no such file, or SQLite cannot be made to.
bool vigie_make_unreadable(const char *path, int64_t from, int64_t to);
// Ends that.
void vigie_make_readable(void);
