#pragma once
#include <sqlite3.h>

// SQLITE_TRANSIENT is a cast that Swift does not import: SQLite makes its own copy of the bytes.
static inline int vigie_bind_text(sqlite3_stmt *statement, int index, const char *text, int count) {
    return sqlite3_bind_text(statement, index, text, count, SQLITE_TRANSIENT);
}

// A variadic function: whether the last connection leaves the log as it is when it is closed.
static inline int vigie_keep_log(sqlite3 *database, int keeps) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps, (int *)0);
}

// As above, for bytes.
static inline int vigie_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, int count) {
    return sqlite3_bind_blob(statement, index, bytes, count, SQLITE_TRANSIENT);
}

// Whether the path of a connection's file leads to another file by now, or to none (SQLITE_FCNTL_HAS_MOVED).
static inline int vigie_has_moved(sqlite3 *database) {
    int has_moved = 0;
    sqlite3_file_control(database, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
    return has_moved;
}
