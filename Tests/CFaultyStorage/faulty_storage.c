#include "faulty_storage.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, PAGE = 4096, SHM_LOCKS = SQLITE_SHM_NLOCK, WAL_WRITE_SLOT = 0 };

// ---- Memory that grows. Without memory the test ends: there is nobody to tell it to.

static void *grown(void *memory, size_t size) {
    void *result = realloc(memory, size ? size : 1);
    if (!result) abort();
    return result;
}

static void *zeroed(size_t size) { return memset(grown(NULL, size), 0, size); }

// Bytes of a file; what lies beyond `size` and within `capacity` is zero.
typedef struct {
    uint8_t *bytes;
    int64_t size, capacity;
} content;

static void reserve(content *file, int64_t size) {
    if (size <= file->capacity) return;
    int64_t capacity = size + size / 2 + PAGE;
    file->bytes = grown(file->bytes, (size_t)capacity);
    memset(file->bytes + file->capacity, 0, (size_t)(capacity - file->capacity));
    file->capacity = capacity;
}

static void resize(content *file, int64_t size) {
    reserve(file, size);
    if (size < file->size) memset(file->bytes + size, 0, (size_t)(file->size - size));
    file->size = size;
}

static void copy_content(content *to, const content *from) {
    resize(to, 0);
    resize(to, from->size);
    if (from->size) memcpy(to->bytes, from->bytes, (size_t)from->size);
}

// ---- Files, names, operations

// The shared memory and its locks of one file (the -shm of a real file system).
typedef struct {
    void **regions;
    int region_count;
    int users;
    int slots[SHM_LOCKS];  // -1: exclusive; n: so many share it
} shared_memory;

typedef struct operation operation;

typedef struct {
    char *name;  // its first
    content seen;
    // The medium, as of operation `advanced` of the machine.
    content durable;
    int64_t size;          // with all operations so far
    operation **waiting;   // for a sync, in order
    int64_t waiting_count, waiting_capacity;
    int64_t *page_synced;  // the operation that last synced each page; empty until a sync has failed
    int64_t page_count;
    // Locks.
    int open_files, sharing;
    const void *reserved, *pending, *exclusive;
    shared_memory *shared;
} inode;

struct operation {
    vigie_operation_kind kind;
    int64_t number;
    inode *file;
    char *name;  // of what is created or deleted
    int64_t offset, size;
    uint8_t *bytes;
    bool is_forgotten;     // a sync failed: later ones do not write it
    bool has_size_synced;  // a later sync has written the file's size
};

typedef struct {
    char *name;
    inode *file;
} entry;

typedef struct {
    entry *entries;
    int count;
} folder;

static int find(const folder *in, const char *name) {
    for (int index = 0; index < in->count; index++)
        if (!strcmp(in->entries[index].name, name)) return index;
    return -1;
}

static inode *look_up(const folder *in, const char *name) {
    int index = find(in, name);
    return index < 0 ? NULL : in->entries[index].file;
}

// Makes `name` stand for `file`; null takes the name away.
static void set_entry(folder *in, const char *name, inode *file) {
    int index = find(in, name);
    if (file) {
        if (index < 0) {
            index = in->count++;
            in->entries = grown(in->entries, (size_t)in->count * sizeof(entry));
            in->entries[index].name = strdup(name);
        }
        in->entries[index].file = file;
    } else if (index >= 0) {
        free(in->entries[index].name);
        in->entries[index] = in->entries[--in->count];
    }
}

static void clear_folder(folder *in) {
    for (int index = 0; index < in->count; index++) free(in->entries[index].name);
    free(in->entries);
    *in = (folder){0};
}

struct vigie_machine {
    sqlite3_vfs vfs;
    char vfs_name[32];
    pthread_mutex_t mutex;
    bool is_given_up;
    int open_files;

    int64_t program;  // the number of the program that runs; files of an earlier one answer nothing
    bool has_power;
    int64_t cut_at;
    vigie_faults faults;
    int64_t slept;

    inode **inodes;
    int inode_count;
    folder seen, durable;
    operation **waiting_names;  // creations and deletions that wait for a sync of the folder
    int64_t waiting_name_count;

    operation **history;
    int64_t operations, history_capacity;
    int64_t advanced;  // operations that `durable` and the waiting lists know of
};

static inode *new_inode(vigie_machine *machine, const char *name) {
    inode *file = zeroed(sizeof(inode));
    file->name = strdup(name);
    machine->inodes = grown(machine->inodes, (size_t)(machine->inode_count + 1) * sizeof(inode *));
    machine->inodes[machine->inode_count++] = file;
    return file;
}

static void free_inode(inode *file) {
    free(file->name);
    free(file->seen.bytes);
    free(file->durable.bytes);
    free(file->waiting);
    free(file->page_synced);
    free(file);
}

static void free_history(vigie_machine *machine) {
    for (int64_t index = 0; index < machine->operations; index++) {
        free(machine->history[index]->name);
        free(machine->history[index]->bytes);
        free(machine->history[index]);
    }
    free(machine->history);
    machine->history = NULL;
    machine->operations = machine->history_capacity = machine->advanced = 0;
}

static void destroy(vigie_machine *machine) {
    free_history(machine);
    for (int index = 0; index < machine->inode_count; index++) free_inode(machine->inodes[index]);
    free(machine->inodes);
    free(machine->waiting_names);
    clear_folder(&machine->seen);
    clear_folder(&machine->durable);
    pthread_mutex_destroy(&machine->mutex);
    free(machine);
}

// ---- The medium

static int64_t minimum(int64_t one, int64_t other) { return one < other ? one : other; }
static int64_t maximum(int64_t one, int64_t other) { return one > other ? one : other; }

// Whether a later sync has written this page.
static bool is_overtaken(const inode *file, const operation *item, int64_t page) {
    return page < file->page_count && file->page_synced[page] > item->number;
}

// Forgotten pages may wait on, but the size was synced with the others.
static int64_t size_after(const operation *item, int64_t size) {
    if (item->has_size_synced) return size;
    return item->kind == VIGIE_TRUNCATE ? item->size : maximum(size, item->offset + item->size);
}

// Puts the part of an operation that lies in [from, to) into `target`, which reaches at least to `to`.
static void apply(const operation *item, uint8_t *target, int64_t from, int64_t to) {
    if (item->kind == VIGIE_TRUNCATE) {
        from = maximum(from, item->size);
        if (from < to) memset(target + from, 0, (size_t)(to - from));
    } else {
        from = maximum(from, item->offset);
        to = minimum(to, item->offset + item->size);
        if (from < to) memcpy(target + from, item->bytes + (from - item->offset), (size_t)(to - from));
    }
}

// The bytes that an operation concerns in a file that is nowhere longer than `limit`.
static void extent(const operation *item, int64_t limit, int64_t *from, int64_t *to) {
    *from = item->kind == VIGIE_TRUNCATE ? item->size : item->offset;
    *to = item->kind == VIGIE_TRUNCATE ? limit : item->offset + item->size;
}

// The largest size that the file had since its last sync.
static int64_t largest_size(const inode *file) {
    int64_t size = file->durable.size, largest = size;
    for (int64_t index = 0; index < file->waiting_count; index++) {
        size = size_after(file->waiting[index], size);
        largest = maximum(largest, size);
    }
    return largest;
}

static void sync_file(inode *file, int64_t number) {
    bool is_any_forgotten = false;
    for (int64_t index = 0; index < file->waiting_count; index++)
        if (file->waiting[index]->is_forgotten) is_any_forgotten = true;
    int64_t limit = largest_size(file);
    reserve(&file->durable, limit);
    if (!is_any_forgotten && !file->page_count) {
        for (int64_t index = 0; index < file->waiting_count; index++) {
            const operation *item = file->waiting[index];
            apply(item, file->durable.bytes, 0, limit);
        }
        file->waiting_count = 0;
    } else {
        int64_t pages = (limit + PAGE - 1) / PAGE;
        if (pages > file->page_count) {
            file->page_synced = grown(file->page_synced, (size_t)pages * sizeof(int64_t));
            for (int64_t page = file->page_count; page < pages; page++) file->page_synced[page] = 0;
            file->page_count = pages;
        }
        bool *is_dirty = zeroed((size_t)pages + 1);
        for (int64_t index = 0; index < file->waiting_count; index++) {
            const operation *item = file->waiting[index];
            int64_t from, to;
            extent(item, limit, &from, &to);
            if (item->is_forgotten) continue;
            for (int64_t page = from / PAGE; page * PAGE < to; page++) is_dirty[page] = true;
        }
        int64_t kept = 0;
        for (int64_t index = 0; index < file->waiting_count; index++) {
            operation *item = file->waiting[index];
            int64_t from, to;
            extent(item, limit, &from, &to);
            for (int64_t page = from / PAGE; page * PAGE < to; page++)
                if (is_dirty[page] && !is_overtaken(file, item, page))
                    apply(item, file->durable.bytes, page * PAGE, minimum((page + 1) * PAGE, limit));
            item->has_size_synced = true;
            if (item->is_forgotten && item->kind == VIGIE_WRITE) file->waiting[kept++] = item;
        }
        file->waiting_count = kept;
        for (int64_t page = 0; page < pages; page++)
            if (is_dirty[page]) file->page_synced[page] = number;
        free(is_dirty);
    }
    // What lies beyond the size must be zero.
    file->durable.size = maximum(limit, file->durable.size);
    resize(&file->durable, file->size);
}

static void wait_for_sync(inode *file, operation *item) {
    if (file->waiting_count == file->waiting_capacity) {
        file->waiting_capacity = file->waiting_capacity * 2 + 16;
        file->waiting = grown(file->waiting, (size_t)file->waiting_capacity * sizeof(operation *));
    }
    file->waiting[file->waiting_count++] = item;
    file->size = size_after(item, file->size);
}

// Lets the medium know of the operations up to and with `number`.
static void advance(vigie_machine *machine, int64_t number) {
    for (; machine->advanced < minimum(number, machine->operations); machine->advanced++) {
        operation *item = machine->history[machine->advanced];
        switch (item->kind) {
        case VIGIE_WRITE:
        case VIGIE_TRUNCATE:
            wait_for_sync(item->file, item);
            break;
        case VIGIE_SYNC:
            sync_file(item->file, item->number);
            break;
        case VIGIE_CREATE:
        case VIGIE_DELETE:
            machine->waiting_names = grown(
                machine->waiting_names, (size_t)(machine->waiting_name_count + 1) * sizeof(operation *));
            machine->waiting_names[machine->waiting_name_count++] = item;
            break;
        case VIGIE_SYNC_FOLDER:
            for (int64_t index = 0; index < machine->waiting_name_count; index++) {
                const operation *name = machine->waiting_names[index];
                set_entry(&machine->durable, name->name, name->kind == VIGIE_CREATE ? name->file : NULL);
            }
            machine->waiting_name_count = 0;
            break;
        case VIGIE_IGNORED_SYNC:
        case VIGIE_NO_OPERATION:
            break;
        }
    }
}

// ---- What a power cut leaves

typedef struct {
    uint64_t state;
} generator;

// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
static uint64_t next(generator *random) {
    uint64_t value = (random->state += 0x9E3779B97F4A7C15);
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
    return value ^ (value >> 31);
}

static int64_t below(generator *random, int64_t bound) { return (int64_t)(next(random) % (uint64_t)bound); }

// How the moments of the medium's parts hang together. A part's moment is the number of the last operation that reached
// it.
typedef enum {
    NOTHING_ARRIVES,
    EVERYTHING_ARRIVES,
    IN_ORDER,             // up to one moment for all, whose operation is torn
    IN_ORDER_BY_FILE,     // the same, with a moment for each file and for the folder
    PAGES_IN_ANY_ORDER,   // a moment for each page of 4096 bytes
    SECTORS_IN_ANY_ORDER  // a moment for each sector
} arrival;

typedef struct {
    generator random;
    arrival order;
    int64_t first, last;  // operations between which moments are drawn
    int64_t moment;       // the common one
} cut;

static int64_t draw(cut *at, int64_t first, int64_t last) {
    switch (below(&at->random, 3)) {
    case 0: return 0;
    case 1: return INT64_MAX;
    default: return first + below(&at->random, last - first + 1);
    }
}

// The moment of one part, whose operations have the numbers from `first` to `last`.
static int64_t moment_of_part(cut *at, int64_t first, int64_t last) {
    switch (at->order) {
    case NOTHING_ARRIVES: return 0;
    case EVERYTHING_ARRIVES: return INT64_MAX;
    case IN_ORDER: return at->moment;
    case IN_ORDER_BY_FILE:
    case PAGES_IN_ANY_ORDER:
    case SECTORS_IN_ANY_ORDER: return draw(at, first, last);
    }
    return 0;
}

// Writes into `result` what the cut leaves of a file.
static void survive(cut *at, const inode *file, content *result) {
    copy_content(result, &file->durable);
    if (!file->waiting_count) return;
    int64_t limit = largest_size(file);
    int64_t first = file->waiting[0]->number, last = file->waiting[file->waiting_count - 1]->number;
    int64_t moment = moment_of_part(at, first, last);

    int64_t size = file->durable.size;
    for (int64_t index = 0; index < file->waiting_count; index++)
        if (file->waiting[index]->number <= moment) size = size_after(file->waiting[index], size);
    resize(result, maximum(limit, size));
    bool is_noisy = below(&at->random, 2);
    for (int64_t offset = file->durable.size; is_noisy && offset < limit; offset += (int64_t)sizeof(uint64_t)) {
        uint64_t noise = next(&at->random);
        memcpy(result->bytes + offset, &noise, (size_t)minimum((int64_t)sizeof noise, limit - offset));
    }

    int64_t part = at->order == SECTORS_IN_ANY_ORDER ? SECTOR : PAGE;
    bool is_by_part = at->order == SECTORS_IN_ANY_ORDER || at->order == PAGES_IN_ANY_ORDER;
    bool is_torn = at->order == IN_ORDER || at->order == IN_ORDER_BY_FILE;
    int64_t parts = (limit + part - 1) / part;
    int64_t *moments = is_by_part ? grown(NULL, (size_t)parts * sizeof(int64_t)) : NULL;
    for (int64_t index = 0; is_by_part && index < parts; index++) moments[index] = draw(at, first, last);
    for (int64_t index = 0; index < file->waiting_count; index++) {
        const operation *item = file->waiting[index];
        int64_t from, to;
        extent(item, limit, &from, &to);
        // The operation after the moment was under way: any of its sectors may have arrived.
        bool is_under_way = is_torn && item->number > moment && (!index || file->waiting[index - 1]->number <= moment);
        if (!is_by_part && !is_under_way && item->number > moment) break;
        for (int64_t sector = from / SECTOR; sector * SECTOR < to; sector++) {
            int64_t start = sector * SECTOR;
            if (is_overtaken(file, item, start / PAGE)) continue;
            if (is_by_part && item->number > moments[start / part]) continue;
            if (is_under_way && below(&at->random, 2)) continue;
            apply(item, result->bytes, start, minimum(start + SECTOR, limit));
        }
    }
    free(moments);
    resize(result, size);
}

// Makes what a cut leaves of `machine`, as far as it was advanced, the content of `result`, which has no files. The two
// may be the same machine, whose files then go.
static void leave(vigie_machine *machine, uint64_t seed, vigie_machine *result) {
    cut at = {.random = {seed}};
    at.order = (arrival)below(&at.random, SECTORS_IN_ANY_ORDER + 1);
    at.first = machine->advanced;
    for (int index = 0; index < machine->inode_count; index++)
        if (machine->inodes[index]->waiting_count)
            at.first = minimum(at.first, machine->inodes[index]->waiting[0]->number - 1);
    if (machine->waiting_name_count) at.first = minimum(at.first, machine->waiting_names[0]->number - 1);
    at.last = machine->advanced;
    at.moment = at.first + below(&at.random, at.last - at.first + 1);

    folder names = {0};
    for (int index = 0; index < machine->durable.count; index++)
        set_entry(&names, machine->durable.entries[index].name, machine->durable.entries[index].file);
    for (int64_t index = 0; index < machine->waiting_name_count; index++) {
        const operation *item = machine->waiting_names[index];
        // One moment for a name: the first operation on it draws it.
        bool is_first = true;
        for (int64_t other = 0; other < index; other++)
            if (!strcmp(machine->waiting_names[other]->name, item->name)) is_first = false;
        if (!is_first) continue;
        int64_t moment = moment_of_part(&at, item->number, machine->advanced);
        for (int64_t other = index; other < machine->waiting_name_count; other++) {
            const operation *later = machine->waiting_names[other];
            if (later->number <= moment && !strcmp(later->name, item->name))
                set_entry(&names, later->name, later->kind == VIGIE_CREATE ? later->file : NULL);
        }
    }

    int count = names.count;
    content *contents = zeroed((size_t)count * sizeof(content) + 1);
    for (int index = 0; index < count; index++) survive(&at, names.entries[index].file, &contents[index]);

    if (result == machine) {
        free_history(machine);
        for (int index = 0; index < machine->inode_count; index++) free_inode(machine->inodes[index]);
        machine->inode_count = 0;
        machine->waiting_name_count = 0;
        clear_folder(&machine->seen);
        clear_folder(&machine->durable);
    }
    for (int index = 0; index < count; index++) {
        inode *file = new_inode(result, names.entries[index].name);
        file->durable = contents[index];
        file->size = file->durable.size;
        copy_content(&file->seen, &file->durable);
        set_entry(&result->seen, names.entries[index].name, file);
        set_entry(&result->durable, names.entries[index].name, file);
    }
    free(contents);
    clear_folder(&names);
}

// ---- What programs do

typedef struct {
    sqlite3_file base;
    vigie_machine *machine;
    int64_t program;
    inode *file;
    const char *name;  // SQLite's; it lives as long as the file is open
    int level;         // SQLITE_LOCK_*
    shared_memory *shared;
    uint32_t shared_slots, exclusive_slots;
    bool is_temporary, syncs_folder, keeps_wal;
} open_file;

static bool is_alive(const open_file *file) {
    return file->machine->has_power && file->program == file->machine->program;
}

// Notes an operation. False if the power is gone, be it at this very operation.
static bool note(vigie_machine *machine, operation values) {
    if (!machine->has_power) return false;
    bool is_last = machine->operations + 1 >= machine->cut_at;
    bool is_sync = values.kind == VIGIE_SYNC || values.kind == VIGIE_SYNC_FOLDER;
    if (is_last) machine->has_power = false;
    // A sync at which the power goes has promised nothing.
    if (is_last && is_sync) values.kind = VIGIE_NO_OPERATION;
    if (machine->operations == machine->history_capacity) {
        machine->history_capacity = machine->history_capacity * 2 + 64;
        machine->history = grown(machine->history, (size_t)machine->history_capacity * sizeof(operation *));
    }
    operation *item = zeroed(sizeof(operation));
    *item = values;
    item->number = machine->operations + 1;
    machine->history[machine->operations++] = item;
    return !is_last;
}

static bool is_failing(vigie_failing *failing) {
    if (failing->count <= 0) return false;
    if (failing->after > 0) {
        failing->after--;
        return false;
    }
    failing->count--;
    return true;
}

static int64_t used(const vigie_machine *machine) {
    int64_t bytes = 0;
    for (int index = 0; index < machine->inode_count; index++) {
        inode *file = machine->inodes[index];
        bool is_named = false;
        for (int other = 0; other < machine->seen.count; other++)
            if (machine->seen.entries[other].file == file) is_named = true;
        if (is_named || file->open_files) bytes += file->seen.size;
    }
    return bytes;
}

static int file_read(sqlite3_file *base, void *bytes, int count, sqlite3_int64 offset) {
    open_file *file = (open_file *)base;
    vigie_machine *machine = file->machine;
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    if (!is_alive(file) || (!file->is_temporary && is_failing(&machine->faults.reads))) {
        result = SQLITE_IOERR_READ;
    } else {
        int64_t there = maximum(0, minimum(count, file->file->seen.size - offset));
        if (there) memcpy(bytes, file->file->seen.bytes + offset, (size_t)there);
        if (there < count) {
            memset((uint8_t *)bytes + there, 0, (size_t)(count - there));
            result = SQLITE_IOERR_SHORT_READ;
        }
    }
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static int file_write(sqlite3_file *base, const void *bytes, int count, sqlite3_int64 offset) {
    open_file *file = (open_file *)base;
    vigie_machine *machine = file->machine;
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    if (!is_alive(file)) {
        result = SQLITE_IOERR_WRITE;
    } else if (!file->is_temporary) {
        if (machine->faults.is_read_only || is_failing(&machine->faults.writes)) {
            result = SQLITE_IOERR_WRITE;
        } else if (machine->faults.capacity >= 0 && offset + count > file->file->seen.size) {
            // What there is room for is written, as write(2) does.
            int64_t room = maximum(0, machine->faults.capacity - used(machine));
            int64_t most = file->file->seen.size + room - offset;
            if (most < count) {
                result = SQLITE_FULL;
                count = (int)maximum(0, most);
            }
        }
    }
    if (result != SQLITE_IOERR_WRITE && count > 0) {
        if (!file->is_temporary) {
            operation item = {VIGIE_WRITE, .file = file->file, .offset = offset, .size = count};
            item.bytes = memcpy(grown(NULL, (size_t)count), bytes, (size_t)count);
            if (!note(machine, item)) result = SQLITE_IOERR_WRITE;
        }
        if (offset + count > file->file->seen.size) resize(&file->file->seen, offset + count);
        memcpy(file->file->seen.bytes + offset, bytes, (size_t)count);
    }
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size) {
    open_file *file = (open_file *)base;
    vigie_machine *machine = file->machine;
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    if (!is_alive(file)) {
        result = SQLITE_IOERR_TRUNCATE;
    } else if (!file->is_temporary) {
        if (machine->faults.is_read_only || is_failing(&machine->faults.writes))
            result = SQLITE_IOERR_TRUNCATE;
        else if (!note(machine, (operation){VIGIE_TRUNCATE, .file = file->file, .size = size}))
            result = SQLITE_IOERR_TRUNCATE;
    }
    if (result == SQLITE_OK) resize(&file->file->seen, size);
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static bool sync_folder(vigie_machine *machine) { return note(machine, (operation){.kind = VIGIE_SYNC_FOLDER}); }

static int file_sync(sqlite3_file *base, int flags) {
    (void)flags;
    open_file *file = (open_file *)base;
    vigie_machine *machine = file->machine;
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    if (!is_alive(file)) {
        result = SQLITE_IOERR_FSYNC;
    } else if (!file->is_temporary) {
        if (is_failing(&machine->faults.syncs)) {
            // Nothing but this may look at the medium before its end, so that forgetting does not reach back in time.
            advance(machine, machine->operations);
            for (int64_t index = 0; index < file->file->waiting_count; index++)
                file->file->waiting[index]->is_forgotten = true;
            result = SQLITE_IOERR_FSYNC;
        } else if (machine->faults.ignores_syncs) {
            if (!note(machine, (operation){VIGIE_IGNORED_SYNC, .file = file->file})) result = SQLITE_IOERR_FSYNC;
        } else {
            if (!note(machine, (operation){VIGIE_SYNC, .file = file->file})) result = SQLITE_IOERR_FSYNC;
            // As SQLite's Unix VFS does: the first sync of a journal or WAL that it made is one of the folder too.
            if (result == SQLITE_OK && file->syncs_folder) {
                file->syncs_folder = false;
                if (!sync_folder(machine)) result = SQLITE_IOERR_DIR_FSYNC;
            }
        }
    }
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size) {
    open_file *file = (open_file *)base;
    pthread_mutex_lock(&file->machine->mutex);
    int result = is_alive(file) ? SQLITE_OK : SQLITE_IOERR_FSTAT;
    if (result == SQLITE_OK) *size = file->file->seen.size;
    pthread_mutex_unlock(&file->machine->mutex);
    return result;
}

// ---- Locks (https://www.sqlite.org/lockingv3.html)

static int file_lock(sqlite3_file *base, int level) {
    open_file *file = (open_file *)base;
    vigie_machine *machine = file->machine;
    inode *locked = file->file;
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    vigie_foreign_lock foreign = machine->faults.foreign_lock;
    if (!is_alive(file)) {
        result = SQLITE_IOERR_LOCK;
    } else if (file->level >= level) {
        // It is held already.
    } else if (foreign == VIGIE_FOREIGN_EXCLUSIVE) {
        result = SQLITE_BUSY;
    } else if (level == SQLITE_LOCK_SHARED) {
        if (locked->pending || locked->exclusive) {
            result = SQLITE_BUSY;
        } else {
            locked->sharing++;
            file->level = level;
        }
    } else if (level == SQLITE_LOCK_RESERVED) {
        if (locked->reserved || foreign == VIGIE_FOREIGN_WRITER) {
            result = SQLITE_BUSY;
        } else {
            locked->reserved = file;
            file->level = level;
        }
    } else {
        bool is_anothers =
            (locked->reserved && locked->reserved != file) || (locked->pending && locked->pending != file);
        if (is_anothers || foreign == VIGIE_FOREIGN_WRITER) {
            result = SQLITE_BUSY;
        } else {
            locked->pending = file;
            file->level = SQLITE_LOCK_PENDING;
            if (locked->sharing > 1) {
                result = SQLITE_BUSY;
            } else {
                locked->exclusive = file;
                file->level = SQLITE_LOCK_EXCLUSIVE;
            }
        }
    }
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static void lower(open_file *file, int level) {
    inode *locked = file->file;
    if (file->level > SQLITE_LOCK_SHARED && level <= SQLITE_LOCK_SHARED) {
        if (locked->reserved == file) locked->reserved = NULL;
        if (locked->pending == file) locked->pending = NULL;
        if (locked->exclusive == file) locked->exclusive = NULL;
    }
    if (file->level >= SQLITE_LOCK_SHARED && level == SQLITE_LOCK_NONE) locked->sharing--;
    if (level < file->level) file->level = level;
}

static int file_unlock(sqlite3_file *base, int level) {
    open_file *file = (open_file *)base;
    pthread_mutex_lock(&file->machine->mutex);
    if (is_alive(file)) lower(file, level);
    pthread_mutex_unlock(&file->machine->mutex);
    return SQLITE_OK;
}

static int file_check_reserved_lock(sqlite3_file *base, int *is_reserved) {
    open_file *file = (open_file *)base;
    pthread_mutex_lock(&file->machine->mutex);
    int result = is_alive(file) ? SQLITE_OK : SQLITE_IOERR_CHECKRESERVEDLOCK;
    *is_reserved = result == SQLITE_OK && (file->file->reserved || file->file->pending || file->file->exclusive
                                           || file->machine->faults.foreign_lock != VIGIE_NO_FOREIGN_LOCK);
    pthread_mutex_unlock(&file->machine->mutex);
    return result;
}

static int file_control(sqlite3_file *base, int request, void *argument) {
    open_file *file = (open_file *)base;
    int result = SQLITE_OK;
    pthread_mutex_lock(&file->machine->mutex);
    if (request == SQLITE_FCNTL_HAS_MOVED) {
        *(int *)argument = is_alive(file) && file->name && look_up(&file->machine->seen, file->name) != file->file;
    } else if (request == SQLITE_FCNTL_PERSIST_WAL) {
        int *value = argument;
        if (*value < 0)
            *value = file->keeps_wal;
        else
            file->keeps_wal = *value != 0;
    } else {
        result = SQLITE_NOTFOUND;
    }
    pthread_mutex_unlock(&file->machine->mutex);
    return result;
}

static int file_sector_size(sqlite3_file *base) {
    (void)base;
    return PAGE;  // what SQLite's Unix VFS says
}

static int file_characteristics(sqlite3_file *base) {
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

// ---- The memory that connections in WAL mode share

static int file_shm_map(sqlite3_file *base, int region, int size, int extends, void volatile **memory) {
    open_file *file = (open_file *)base;
    pthread_mutex_lock(&file->machine->mutex);
    int result = SQLITE_OK;
    *memory = NULL;
    if (!is_alive(file)) {
        result = SQLITE_IOERR_SHMMAP;
    } else if (!file->shared && !file->file->shared && file->machine->faults.is_read_only) {
        result = SQLITE_CANTOPEN;
    } else {
        if (!file->shared) {
            if (!file->file->shared) file->file->shared = zeroed(sizeof(shared_memory));
            file->shared = file->file->shared;
            file->shared->users++;
        }
        shared_memory *shared = file->shared;
        if (region >= shared->region_count && extends) {
            shared->regions = grown(shared->regions, (size_t)(region + 1) * sizeof(void *));
            while (shared->region_count <= region) shared->regions[shared->region_count++] = zeroed((size_t)size);
        }
        if (region < shared->region_count) *memory = shared->regions[region];
    }
    pthread_mutex_unlock(&file->machine->mutex);
    return result;
}

static int file_shm_lock(sqlite3_file *base, int offset, int count, int flags) {
    open_file *file = (open_file *)base;
    pthread_mutex_lock(&file->machine->mutex);
    int result = SQLITE_OK;
    uint32_t mask = ((1u << count) - 1) << offset;
    vigie_foreign_lock foreign = file->machine->faults.foreign_lock;
    if (!is_alive(file) || !file->shared) {
        result = flags & SQLITE_SHM_UNLOCK ? SQLITE_OK : SQLITE_IOERR_SHMLOCK;
    } else if (flags & SQLITE_SHM_UNLOCK) {
        for (int slot = offset; slot < offset + count; slot++) {
            if (file->exclusive_slots & (1u << slot)) file->shared->slots[slot] = 0;
            if (file->shared_slots & (1u << slot)) file->shared->slots[slot]--;
        }
        file->exclusive_slots &= ~mask;
        file->shared_slots &= ~mask;
    } else if (flags & SQLITE_SHM_SHARED) {
        if (!(file->shared_slots & mask)) {
            if (file->shared->slots[offset] < 0) {
                result = SQLITE_BUSY;
            } else {
                file->shared->slots[offset]++;
                file->shared_slots |= mask;
            }
        }
    } else {
        bool is_writer = mask & (1u << WAL_WRITE_SLOT);
        if (is_writer && foreign != VIGIE_NO_FOREIGN_LOCK) result = SQLITE_BUSY;
        for (int slot = offset; slot < offset + count; slot++)
            if (file->shared->slots[slot] != 0 && !(file->exclusive_slots & (1u << slot))) result = SQLITE_BUSY;
        for (int slot = offset; result == SQLITE_OK && slot < offset + count; slot++) file->shared->slots[slot] = -1;
        if (result == SQLITE_OK) file->exclusive_slots |= mask;
    }
    pthread_mutex_unlock(&file->machine->mutex);
    return result;
}

static void file_shm_barrier(sqlite3_file *base) {
    // The mutex is a barrier for the processor and the compiler.
    pthread_mutex_lock(&((open_file *)base)->machine->mutex);
    pthread_mutex_unlock(&((open_file *)base)->machine->mutex);
}

static void leave_shared_memory(open_file *file) {
    shared_memory *shared = file->shared;
    if (!shared) return;
    for (int slot = 0; slot < SHM_LOCKS; slot++) {
        if (file->exclusive_slots & (1u << slot)) shared->slots[slot] = 0;
        if (file->shared_slots & (1u << slot)) shared->slots[slot]--;
    }
    file->exclusive_slots = file->shared_slots = 0;
    file->shared = NULL;
    if (--shared->users) return;
    // After a restart the inode is gone or has another.
    if (file->program == file->machine->program && file->file->shared == shared) file->file->shared = NULL;
    for (int region = 0; region < shared->region_count; region++) free(shared->regions[region]);
    free(shared->regions);
    free(shared);
}

static int file_shm_unmap(sqlite3_file *base, int deletes) {
    (void)deletes;
    open_file *file = (open_file *)base;
    pthread_mutex_lock(&file->machine->mutex);
    leave_shared_memory(file);
    pthread_mutex_unlock(&file->machine->mutex);
    return SQLITE_OK;
}

static int file_close(sqlite3_file *base) {
    open_file *file = (open_file *)base;
    vigie_machine *machine = file->machine;
    pthread_mutex_lock(&machine->mutex);
    leave_shared_memory(file);
    if (file->program == machine->program) {
        lower(file, SQLITE_LOCK_NONE);
        file->file->open_files--;
        // Nobody can reach a temporary file's inode any more; its memory goes at once.
        if (file->is_temporary) resize(&file->file->seen, 0);
    }
    bool is_last = --machine->open_files == 0 && machine->is_given_up;
    pthread_mutex_unlock(&machine->mutex);
    if (is_last) destroy(machine);
    return SQLITE_OK;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

// ---- The folder

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags) {
    vigie_machine *machine = vfs->pAppData;
    open_file *file = (open_file *)base;
    memset(file, 0, sizeof *file);
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    bool is_temporary = !name || (flags & SQLITE_OPEN_DELETEONCLOSE);
    inode *opened = is_temporary ? NULL : look_up(&machine->seen, name);
    bool is_new = false;
    if (!machine->has_power) {
        result = SQLITE_IOERR;
    } else if (is_temporary) {
        opened = new_inode(machine, "");
    } else if (opened) {
        if ((flags & SQLITE_OPEN_EXCLUSIVE) && (flags & SQLITE_OPEN_CREATE)) result = SQLITE_CANTOPEN;
    } else if (!(flags & SQLITE_OPEN_CREATE) || machine->faults.is_read_only) {
        result = SQLITE_CANTOPEN;
    } else {
        is_new = true;
        opened = new_inode(machine, name);
        if (!note(machine, (operation){VIGIE_CREATE, .file = opened, .name = strdup(name)})) result = SQLITE_IOERR;
        set_entry(&machine->seen, name, opened);
    }
    if (result == SQLITE_OK) {
        file->machine = machine;
        file->program = machine->program;
        file->file = opened;
        file->name = name;
        file->is_temporary = is_temporary;
        int journals = SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL;
        file->syncs_folder = is_new && (flags & journals);
        if (machine->faults.is_read_only && !is_temporary) {
            flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
        }
        if (out_flags) *out_flags = flags;
        opened->open_files++;
        machine->open_files++;
        base->pMethods = &file_methods;
    }
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int syncs) {
    vigie_machine *machine = vfs->pAppData;
    pthread_mutex_lock(&machine->mutex);
    int result = SQLITE_OK;
    inode *deleted = look_up(&machine->seen, name);
    if (!machine->has_power || (deleted && machine->faults.is_read_only)) {
        result = SQLITE_IOERR_DELETE;
    } else if (!deleted) {
        result = SQLITE_IOERR_DELETE_NOENT;
    } else {
        if (!note(machine, (operation){VIGIE_DELETE, .file = deleted, .name = strdup(name)}))
            result = SQLITE_IOERR_DELETE;
        set_entry(&machine->seen, name, NULL);
        if (result == SQLITE_OK && syncs && !sync_folder(machine)) result = SQLITE_IOERR_DIR_FSYNC;
    }
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *is_there) {
    vigie_machine *machine = vfs->pAppData;
    pthread_mutex_lock(&machine->mutex);
    int result = machine->has_power ? SQLITE_OK : SQLITE_IOERR_ACCESS;
    inode *file = look_up(&machine->seen, name);
    // As SQLite's Unix VFS does: an empty file does not exist.
    if (flags == SQLITE_ACCESS_EXISTS)
        *is_there = file && file->seen.size > 0;
    else
        *is_there = file && !machine->faults.is_read_only;
    pthread_mutex_unlock(&machine->mutex);
    return result;
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int capacity, char *result) {
    (void)vfs;
    return snprintf(result, (size_t)capacity, "%s", name) < capacity ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(sqlite3_vfs *vfs, int count, char *bytes) {
    (void)vfs;
    sqlite3_vfs *system = sqlite3_vfs_find("unix");
    return system ? system->xRandomness(system, count, bytes) : 0;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds) {
    vigie_machine *machine = vfs->pAppData;
    pthread_mutex_lock(&machine->mutex);
    machine->slept += microseconds;
    pthread_mutex_unlock(&machine->mutex);
    return microseconds;
}

static int vfs_current_time(sqlite3_vfs *vfs, sqlite3_int64 *time) {
    (void)vfs;
    sqlite3_vfs *system = sqlite3_vfs_find("unix");
    return system ? system->xCurrentTimeInt64(system, time) : SQLITE_ERROR;
}

static int vfs_last_error(sqlite3_vfs *vfs, int capacity, char *text) {
    (void)vfs;
    if (capacity > 0) text[0] = 0;
    return 0;
}

// ---- What tests do

vigie_machine *vigie_machine_new(void) {
    static atomic_uint_fast64_t made;
    vigie_machine *machine = calloc(1, sizeof *machine);
    if (!machine) return NULL;
    snprintf(machine->vfs_name, sizeof machine->vfs_name, "vigie-machine-%llu", (unsigned long long)++made);
    pthread_mutex_init(&machine->mutex, NULL);
    machine->has_power = true;
    machine->cut_at = INT64_MAX;
    machine->faults.capacity = -1;
    machine->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(open_file),
        .mxPathname = 512,
        .zName = machine->vfs_name,
        .pAppData = machine,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_pathname,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_current_time,
    };
    if (sqlite3_vfs_register(&machine->vfs, 0) != SQLITE_OK) {
        destroy(machine);
        return NULL;
    }
    return machine;
}

void vigie_machine_free(vigie_machine *machine) {
    if (!machine) return;
    sqlite3_vfs_unregister(&machine->vfs);
    pthread_mutex_lock(&machine->mutex);
    machine->is_given_up = true;
    bool is_unused = machine->open_files == 0;
    pthread_mutex_unlock(&machine->mutex);
    if (is_unused) destroy(machine);
}

const char *vigie_machine_vfs(const vigie_machine *machine) { return machine->vfs_name; }

int64_t vigie_machine_operations(vigie_machine *machine) {
    pthread_mutex_lock(&machine->mutex);
    int64_t operations = machine->operations;
    pthread_mutex_unlock(&machine->mutex);
    return operations;
}

vigie_operation_kind vigie_machine_operation(vigie_machine *machine, int64_t n, char *name, int capacity) {
    vigie_operation_kind kind = VIGIE_NO_OPERATION;
    pthread_mutex_lock(&machine->mutex);
    if (capacity > 0) name[0] = 0;
    if (n >= 1 && n <= machine->operations) {
        const operation *item = machine->history[n - 1];
        kind = item->kind;
        if (item->file && capacity > 0) snprintf(name, (size_t)capacity, "%s", item->file->name);
    }
    pthread_mutex_unlock(&machine->mutex);
    return kind;
}

void vigie_machine_cut_at(vigie_machine *machine, int64_t n) {
    pthread_mutex_lock(&machine->mutex);
    machine->cut_at = n;
    if (n <= 0) machine->has_power = false;
    pthread_mutex_unlock(&machine->mutex);
}

bool vigie_machine_has_power(vigie_machine *machine) {
    pthread_mutex_lock(&machine->mutex);
    bool has_power = machine->has_power;
    pthread_mutex_unlock(&machine->mutex);
    return has_power;
}

void vigie_machine_restart(vigie_machine *machine, uint64_t seed) {
    pthread_mutex_lock(&machine->mutex);
    advance(machine, machine->operations);
    leave(machine, seed, machine);
    machine->program++;
    machine->has_power = true;
    machine->cut_at = INT64_MAX;
    pthread_mutex_unlock(&machine->mutex);
}

void vigie_machine_kill(vigie_machine *machine) {
    pthread_mutex_lock(&machine->mutex);
    machine->program++;
    machine->has_power = true;
    machine->cut_at = INT64_MAX;
    for (int index = 0; index < machine->inode_count; index++) {
        inode *file = machine->inodes[index];
        file->open_files = file->sharing = 0;
        file->reserved = file->pending = file->exclusive = NULL;
        file->shared = NULL;  // its memory goes with the files that use it
    }
    pthread_mutex_unlock(&machine->mutex);
}

vigie_machine *vigie_machine_image(vigie_machine *machine, int64_t n, uint64_t seed) {
    vigie_machine *image = vigie_machine_new();
    if (!image) return NULL;
    pthread_mutex_lock(&machine->mutex);
    advance(machine, n - 1);
    if (n >= 1 && n <= machine->operations) {
        vigie_operation_kind kind = machine->history[n - 1]->kind;
        if (kind != VIGIE_SYNC && kind != VIGIE_SYNC_FOLDER) advance(machine, n);
    }
    leave(machine, seed, image);
    pthread_mutex_unlock(&machine->mutex);
    return image;
}

void vigie_machine_set_faults(vigie_machine *machine, vigie_faults faults) {
    pthread_mutex_lock(&machine->mutex);
    machine->faults = faults;
    pthread_mutex_unlock(&machine->mutex);
}

int64_t vigie_machine_slept(vigie_machine *machine) {
    pthread_mutex_lock(&machine->mutex);
    int64_t slept = machine->slept;
    pthread_mutex_unlock(&machine->mutex);
    return slept;
}

int64_t vigie_machine_file_size(vigie_machine *machine, const char *name) {
    pthread_mutex_lock(&machine->mutex);
    inode *file = look_up(&machine->seen, name);
    int64_t size = file ? file->seen.size : -1;
    pthread_mutex_unlock(&machine->mutex);
    return size;
}

int64_t vigie_machine_read_file(vigie_machine *machine, const char *name, uint8_t *bytes, int64_t count) {
    pthread_mutex_lock(&machine->mutex);
    inode *file = look_up(&machine->seen, name);
    int64_t there = file ? minimum(count, file->seen.size) : 0;
    if (there > 0) memcpy(bytes, file->seen.bytes, (size_t)there);
    pthread_mutex_unlock(&machine->mutex);
    return there;
}

bool vigie_machine_put_file(vigie_machine *machine, const char *name, const uint8_t *bytes, int64_t count) {
    pthread_mutex_lock(&machine->mutex);
    advance(machine, machine->operations);
    inode *old = look_up(&machine->seen, name);
    bool is_free = !old || !old->open_files;
    if (is_free) {
        inode *file = new_inode(machine, name);
        resize(&file->seen, count);
        if (count) memcpy(file->seen.bytes, bytes, (size_t)count);
        copy_content(&file->durable, &file->seen);
        file->size = count;
        set_entry(&machine->seen, name, file);
        set_entry(&machine->durable, name, file);
    }
    pthread_mutex_unlock(&machine->mutex);
    return is_free;
}

void vigie_machine_remove_file(vigie_machine *machine, const char *name) {
    pthread_mutex_lock(&machine->mutex);
    advance(machine, machine->operations);
    set_entry(&machine->seen, name, NULL);
    set_entry(&machine->durable, name, NULL);
    pthread_mutex_unlock(&machine->mutex);
}

bool vigie_machine_rewrite(vigie_machine *machine, const char *name) {
    pthread_mutex_lock(&machine->mutex);
    inode *file = look_up(&machine->seen, name);
    bool is_written = machine->has_power;
    if (file && file->seen.size > 0) {
        operation item = {VIGIE_WRITE, .file = file, .offset = 0, .size = file->seen.size};
        item.bytes = memcpy(grown(NULL, (size_t)item.size), file->seen.bytes, (size_t)item.size);
        is_written = note(machine, item);
    }
    pthread_mutex_unlock(&machine->mutex);
    return is_written;
}

bool vigie_machine_sync(vigie_machine *machine, const char *name) {
    pthread_mutex_lock(&machine->mutex);
    inode *file = look_up(&machine->seen, name);
    bool is_synced = machine->has_power;
    if (!*name)
        is_synced = sync_folder(machine);
    else if (file)
        is_synced = note(machine, (operation){VIGIE_SYNC, .file = file});
    pthread_mutex_unlock(&machine->mutex);
    return is_synced;
}
