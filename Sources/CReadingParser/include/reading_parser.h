#pragma once
// One message in, one flat record out: simdjson parses and validates the whole JSON text, and the fields of the
// contract are picked from it in the same call. What the fields mean is for the caller to judge.
//
// A message with a sensor_id is a reading. One without it that has a report is a gateway's report: its streams, gaps
// and ranges are in three lists that belong to the parser.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { VIGIE_MAXIMUM_QUANTITIES = 12 };

// The fields of the contract, in the order in which the gateway writes them. The quantities are those that the parser was
// made with: the first one is field VIGIE_FIRST_QUANTITY.
enum {
    VIGIE_SCHEMA,
    VIGIE_GATEWAY_ID,
    VIGIE_SENSOR_ID,
    VIGIE_STREAM_ID,
    VIGIE_SEQ,
    VIGIE_STREAM_FIRST,
    VIGIE_EVENT_TIME,
    VIGIE_TIME_QUALITY,
    VIGIE_INTERVAL_MS,
    VIGIE_FIRST_QUANTITY,
    VIGIE_FAULTS = VIGIE_FIRST_QUANTITY + VIGIE_MAXIMUM_QUANTITIES,
    VIGIE_LATITUDE,
    VIGIE_LONGITUDE,
    VIGIE_SIMULATED,
    VIGIE_REPORT,
    VIGIE_FIELD_COUNT
};

enum { VIGIE_MAXIMUM_FAULTS = 64 };

// More of these than 64 KiB can hold.
enum { VIGIE_MAXIMUM_STREAMS = 2048, VIGIE_MAXIMUM_GAPS = 2048, VIGIE_MAXIMUM_RANGES = 16384 };

typedef enum {
    VIGIE_PARSED,
    VIGIE_NOT_JSON,
    VIGIE_NOT_UTF8,
    VIGIE_NOT_AN_OBJECT,
    VIGIE_WRONG_TYPE,       // field says which
    VIGIE_DUPLICATE_FIELD,  // field says which
    VIGIE_TOO_MANY_FAULTS,
    VIGIE_MISSING_PART,     // of a report; field and part say which
    VIGIE_TOO_MANY_PARTS,   // of a report; part says which
    VIGIE_NO_MEMORY,
} vigie_outcome;

// Bytes that stay valid until the parser's next call.
typedef struct {
    const uint8_t *bytes;
    size_t count;
} vigie_text;

// A stream of a report.
typedef struct {
    vigie_text stream_id;
    vigie_text previous;  // bytes are NULL for null
    int64_t first;
    int64_t last;
    bool has_last;
    bool has_previous;
} vigie_report_stream;

// A gap of a report.
typedef struct {
    vigie_text stream_id;
    vigie_text reason;
    size_t first_range;  // index of its first range among all of the report
    size_t range_count;
} vigie_report_gap;

typedef struct {
    int64_t first;
    int64_t last;
} vigie_report_range;

// Lists that stay valid until the parser's next call.
typedef struct {
    const vigie_report_stream *streams;
    const vigie_report_gap *gaps;
    const vigie_report_range *ranges;
    size_t stream_count;
    size_t gap_count;
    size_t range_count;
} vigie_report;

typedef struct {
    uint32_t present;  // bit i: field i was there
    int32_t field;     // the field that an outcome is about, or -1
    const char *part;  // the part of a report that an outcome is about, such as "streams.first", or NULL
    bool is_report;    // whether it has a report and no sensor_id
    vigie_report report;
    int64_t stream_first;
    int64_t schema;
    int64_t seq;
    int64_t interval_ms;
    vigie_text gateway_id;
    vigie_text sensor_id;
    vigie_text stream_id;
    vigie_text event_time;
    vigie_text time_quality;
    double quantities[VIGIE_MAXIMUM_QUANTITIES];  // by their indices
    double latitude;
    double longitude;
    bool simulated;
    uint32_t fault_count;
    vigie_text faults[VIGIE_MAXIMUM_FAULTS];
} vigie_message;

typedef struct vigie_parser vigie_parser;

// Makes a parser for messages of up to `capacity` bytes; NULL without memory, or with too many quantities.
// `quantities` has the names of the quantities, in the contract's order, separated by commas.
vigie_parser *vigie_parser_new(size_t capacity, const char *quantities);
void vigie_parser_free(vigie_parser *parser);

// Parses `count` bytes, at most the parser's capacity.
vigie_outcome vigie_parse(vigie_parser *parser, const void *bytes, size_t count, vigie_message *message);

// The name of a field in the contract; valid while the parser is.
const char *vigie_field_name(const vigie_parser *parser, int32_t field);

#ifdef __cplusplus
}
#endif
