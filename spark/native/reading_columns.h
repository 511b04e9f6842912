#pragma once
// Many messages in, columns out: what a batch of messages says, as arrays that Python hands over, and rows of a table as
// the stream that PostgreSQL's binary COPY takes.
//
// Each message goes through the project's parser. A reading that satisfies the whole contract in its usual form becomes a
// row of the columns. Everything else is left to the caller, message by message: reports, messages that are to be rejected,
// and readings that are written in an unusual way, such as a time with an offset.
#include <stddef.h>
#include <stdint.h>

#include "reading_parser.h"

#ifdef __cplusplus
extern "C" {
#endif

// What the numbers of a reading may be; the ranges of quantities in the order of the parser's names.
typedef struct {
    const double *lowest;
    const double *highest;
    int64_t earliest;  // event times, milliseconds since 1970
    int64_t latest;
    int64_t largest_number;    // of a reading in its stream
    int64_t longest_interval;  // milliseconds
} vigie_limits;

// One element a message; where `is_reading` is 0 the others say nothing.
typedef struct {
    uint8_t *is_reading;
    int32_t *stream;  // indices of the names that the batch has seen
    int32_t *sensor;
    int32_t *faults;  // -1 for none
    int64_t *sequence;
    int64_t *stream_first;
    int64_t *event_time;  // milliseconds since 1970
    int64_t *interval;    // milliseconds
    uint8_t *is_estimated;
    uint8_t *is_simulated;
    uint8_t *has_latitude;
    uint8_t *has_longitude;
    uint32_t *quantities;  // bit i: quantity i is there
    double *values;        // of quantity i from i * stride on
    double *latitude;
    double *longitude;
    size_t stride;
} vigie_columns;

// The names that stand in some messages, each once.
typedef struct vigie_batch vigie_batch;

// NULL without memory. `quantities` as for `vigie_parser_new`.
vigie_batch *vigie_batch_new(size_t capacity, const char *quantities, size_t quantity_count);
void vigie_batch_free(vigie_batch *batch);

// Decodes `count` messages, of which message i has the bytes from offsets[i] up to offsets[i + 1], into the elements of
// the columns from `first` on. Returns how many became readings.
size_t vigie_batch_decode(
    vigie_batch *batch, const uint8_t *bytes, const int32_t *offsets, size_t count, const vigie_limits *limits,
    const vigie_columns *columns, size_t first);

// The names so far, by their indices. Pointers are valid until the batch's next call.
size_t vigie_batch_gateway_count(const vigie_batch *batch);
const char *vigie_batch_gateway(const vigie_batch *batch, size_t index);
size_t vigie_batch_sensor_count(const vigie_batch *batch);
const char *vigie_batch_sensor(const vigie_batch *batch, size_t index, int32_t *gateway);
size_t vigie_batch_stream_count(const vigie_batch *batch);
uint64_t vigie_batch_stream(const vigie_batch *batch, size_t index, int32_t *gateway);
// The faults of a reading, separated by spaces.
size_t vigie_batch_faults_count(const vigie_batch *batch);
const char *vigie_batch_faults(const vigie_batch *batch, size_t index);

// A column of rows for COPY. With `dictionary` each value is one of its entries, by `codes`, negative for NULL, written as
// it is. Without, values are numbers of `width` bytes in the machine's order, with `is_null` if any may be NULL.
typedef struct {
    const void *numbers;
    const uint8_t *is_null;
    size_t width;  // 1, 2, 4 or 8
    const int32_t *codes;
    const uint8_t *dictionary;
    const int64_t *dictionary_offsets;
} vigie_copy_column;

// The size of the stream for some rows, and the stream itself (PostgreSQL's documentation, COPY, "Binary Format").
size_t vigie_copy_size(const vigie_copy_column *columns, size_t column_count, size_t row_count);
void vigie_copy_encode(const vigie_copy_column *columns, size_t column_count, size_t row_count, uint8_t *stream);

#ifdef __cplusplus
}
#endif
