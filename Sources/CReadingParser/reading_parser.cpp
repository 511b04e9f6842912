#include "reading_parser.h"

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include <simdjson.h>

using simdjson::dom::element;
using simdjson::dom::element_type;

struct vigie_parser {
    simdjson::dom::parser parser;
    // simdjson reads beyond the end of the text, so it is copied to a buffer that has room for that.
    std::unique_ptr<char[]> buffer;
    size_t capacity;
    // The fields and their names, in the contract's order.
    int32_t fields[VIGIE_FIELD_COUNT];
    std::string names[VIGIE_FIELD_COUNT];
    int32_t field_count;
    // The lists of a report, allocated with the first report.
    std::unique_ptr<vigie_report_stream[]> streams;
    std::unique_ptr<vigie_report_gap[]> gaps;
    std::unique_ptr<vigie_report_range[]> ranges;
};

static constexpr const char *names_before[] = {
    "schema",       "gateway_id", "sensor_id",    "stream_id",   "seq",
    "stream_first", "event_time", "time_quality", "interval_ms",
};
static_assert(std::size(names_before) == VIGIE_FIRST_QUANTITY);
static constexpr const char *names_after[] = {"faults", "latitude", "longitude", "simulated", "report"};
static_assert(std::size(names_after) == VIGIE_FIELD_COUNT - VIGIE_FAULTS);
// `present` has a bit for each field.
static_assert(VIGIE_FIELD_COUNT <= 32);

const char *vigie_field_name(const vigie_parser *parser, int32_t field) {
    for (int32_t index = 0; index < parser->field_count; index++) {
        if (parser->fields[index] == field) return parser->names[index].c_str();
    }
    return "";
}

vigie_parser *vigie_parser_new(size_t capacity, const char *quantities) {
    std::unique_ptr<vigie_parser> parser(new (std::nothrow) vigie_parser());
    if (!parser) return nullptr;
    const auto add = [&](int32_t field, std::string_view name) {
        parser->fields[parser->field_count] = field;
        parser->names[parser->field_count++] = name;
    };
    for (size_t index = 0; index < std::size(names_before); index++) add(int32_t(index), names_before[index]);
    std::string_view rest = quantities;
    for (int32_t field = VIGIE_FIRST_QUANTITY; !rest.empty(); field++) {
        if (field == VIGIE_FAULTS) return nullptr;
        const size_t end = rest.find(',');
        add(field, rest.substr(0, end));
        rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    }
    for (size_t index = 0; index < std::size(names_after); index++) add(int32_t(VIGIE_FAULTS + index), names_after[index]);
    parser->buffer.reset(new (std::nothrow) char[capacity + simdjson::SIMDJSON_PADDING]());
    parser->capacity = capacity;
    if (!parser->buffer || parser->parser.allocate(capacity) != simdjson::SUCCESS) return nullptr;
    return parser.release();
}

void vigie_parser_free(vigie_parser *parser) { delete parser; }

// The index of a field by its name, or -1. Fields mostly come in the contract's order, so the search begins where the last
// one was found.
static int32_t index_of(std::string_view key, int32_t first, const vigie_parser &parser) {
    int32_t index = first;
    for (int32_t tried = 0; tried < parser.field_count; tried++) {
        if (index >= parser.field_count) index = 0;
        if (parser.names[index] == key) return index;
        index++;
    }
    return -1;
}

static bool read(const element &value, int64_t &result) { return value.get(result) == simdjson::SUCCESS; }

static bool read(const element &value, bool &result) { return value.get(result) == simdjson::SUCCESS; }

static bool read(const element &value, double &result) {
    return value.is_number() && value.get(result) == simdjson::SUCCESS;
}

static bool read(const element &value, vigie_text &result) {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) return false;
    result = {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
    return true;
}

static vigie_outcome read_faults(const element &value, vigie_message &message) {
    simdjson::dom::array array;
    if (value.get(array) != simdjson::SUCCESS) return VIGIE_WRONG_TYPE;
    for (const element item : array) {
        if (message.fault_count == VIGIE_MAXIMUM_FAULTS) return VIGIE_TOO_MANY_FAULTS;
        if (!read(item, message.faults[message.fault_count])) return VIGIE_WRONG_TYPE;
        message.fault_count++;
    }
    return VIGIE_PARSED;
}

static bool read_field(int32_t field, const element &value, vigie_message &message) {
    if (field >= VIGIE_FIRST_QUANTITY && field < VIGIE_FAULTS)
        return read(value, message.quantities[field - VIGIE_FIRST_QUANTITY]);
    switch (field) {
    case VIGIE_SCHEMA: return read(value, message.schema);
    case VIGIE_GATEWAY_ID: return read(value, message.gateway_id);
    case VIGIE_SENSOR_ID: return read(value, message.sensor_id);
    case VIGIE_STREAM_ID: return read(value, message.stream_id);
    case VIGIE_SEQ: return read(value, message.seq);
    case VIGIE_EVENT_TIME: return read(value, message.event_time);
    case VIGIE_TIME_QUALITY: return read(value, message.time_quality);
    case VIGIE_INTERVAL_MS: return read(value, message.interval_ms);
    case VIGIE_LATITUDE: return read(value, message.latitude);
    case VIGIE_LONGITUDE: return read(value, message.longitude);
    case VIGIE_SIMULATED: return read(value, message.simulated);
    case VIGIE_STREAM_FIRST: return read(value, message.stream_first);
    default: return false;
    }
}

// Reads one object of a report: `pick(key, value)` gives the bit of a known key, 0 for an unknown one and negative for a
// value of another type.
template <typename Pick>
static vigie_outcome read_object(const element &value, uint32_t required, Pick pick) {
    simdjson::dom::object object;
    if (value.get(object) != simdjson::SUCCESS) return VIGIE_WRONG_TYPE;
    uint32_t present = 0;
    for (const auto [key, item] : object) {
        const int bit = pick(std::string_view(key), element(item));
        if (bit < 0) return VIGIE_WRONG_TYPE;
        if (present & uint32_t(bit)) return VIGIE_DUPLICATE_FIELD;
        present |= uint32_t(bit);
    }
    return (present & required) == required ? VIGIE_PARSED : VIGIE_MISSING_PART;
}

static vigie_outcome read_stream(const element &value, vigie_report_stream &stream, vigie_message &message) {
    stream = {};
    const vigie_outcome outcome = read_object(value, 1 | 2, [&](std::string_view key, const element &item) {
        if (key == "stream_id") return message.part = "streams.stream_id", read(item, stream.stream_id) ? 1 : -1;
        if (key == "first") return message.part = "streams.first", read(item, stream.first) ? 2 : -1;
        if (key == "last") {
            message.part = "streams.last";
            stream.has_last = true;
            return read(item, stream.last) ? 4 : -1;
        }
        if (key == "previous") {
            message.part = "streams.previous";
            stream.has_previous = true;
            return item.is_null() || read(item, stream.previous) ? 8 : -1;
        }
        return 0;
    });
    if (outcome == VIGIE_MISSING_PART) message.part = stream.stream_id.bytes ? "streams.first" : "streams.stream_id";
    return outcome;
}

static vigie_outcome read_range(const element &value, vigie_report_range &range) {
    simdjson::dom::array bounds;
    if (value.get(bounds) != simdjson::SUCCESS || bounds.size() != 2) return VIGIE_WRONG_TYPE;
    auto bound = bounds.begin();
    if (!read(element(*bound), range.first)) return VIGIE_WRONG_TYPE;
    ++bound;
    return read(element(*bound), range.last) ? VIGIE_PARSED : VIGIE_WRONG_TYPE;
}

static vigie_outcome read_gap(
    const element &value, vigie_report_gap &gap, vigie_parser &parser, vigie_message &message) {
    vigie_report &report = message.report;
    gap = {};
    gap.first_range = report.range_count;
    vigie_outcome of_ranges = VIGIE_PARSED;
    const vigie_outcome outcome =
        read_object(value, 1 | 2 | 4, [&](std::string_view key, const element &item) {
            if (key == "stream_id") return message.part = "gaps.stream_id", read(item, gap.stream_id) ? 1 : -1;
            if (key == "reason") return message.part = "gaps.reason", read(item, gap.reason) ? 2 : -1;
            if (key != "ranges") return 0;
            message.part = "gaps.ranges";
            simdjson::dom::array array;
            if (item.get(array) != simdjson::SUCCESS) return -1;
            // What stands twice is refused by the caller; its ranges need not be read again.
            if (gap.range_count > 0) return 4;
            for (const element range : array) {
                message.part = "gaps.ranges";
                of_ranges = report.range_count < VIGIE_MAXIMUM_RANGES
                    ? read_range(range, parser.ranges[report.range_count])
                    : VIGIE_TOO_MANY_PARTS;
                if (of_ranges != VIGIE_PARSED) return -1;
                report.range_count++;
                gap.range_count++;
            }
            return 4;
        });
    if (of_ranges != VIGIE_PARSED) return of_ranges;
    if (outcome == VIGIE_MISSING_PART) {
        message.part = !gap.stream_id.bytes ? "gaps.stream_id" : !gap.reason.bytes ? "gaps.reason" : "gaps.ranges";
    }
    return outcome;
}

static bool allocate_lists(vigie_parser &parser) {
    if (parser.ranges) return true;
    parser.streams.reset(new (std::nothrow) vigie_report_stream[VIGIE_MAXIMUM_STREAMS]);
    parser.gaps.reset(new (std::nothrow) vigie_report_gap[VIGIE_MAXIMUM_GAPS]);
    parser.ranges.reset(new (std::nothrow) vigie_report_range[VIGIE_MAXIMUM_RANGES]);
    return parser.streams && parser.gaps && parser.ranges;
}

static vigie_outcome read_report(const element &value, vigie_parser &parser, vigie_message &message) {
    message.is_report = true;
    message.field = VIGIE_REPORT;
    vigie_report &report = message.report;
    report = {};
    if (!allocate_lists(parser)) return VIGIE_NO_MEMORY;
    report.streams = parser.streams.get();
    report.gaps = parser.gaps.get();
    report.ranges = parser.ranges.get();
    vigie_outcome of_parts = VIGIE_PARSED;
    const vigie_outcome outcome = read_object(value, 0, [&](std::string_view key, const element &item) {
        const bool is_streams = key == "streams";
        if (!is_streams && key != "gaps") return 0;
        message.part = is_streams ? "streams" : "gaps";
        simdjson::dom::array array;
        if (item.get(array) != simdjson::SUCCESS) return -1;
        size_t &count = is_streams ? report.stream_count : report.gap_count;
        const size_t limit = is_streams ? VIGIE_MAXIMUM_STREAMS : VIGIE_MAXIMUM_GAPS;
        if (count > 0) return is_streams ? 1 : 2;
        for (const element part : array) {
            message.part = is_streams ? "streams" : "gaps";
            of_parts = count == limit ? VIGIE_TOO_MANY_PARTS
                : is_streams          ? read_stream(part, parser.streams[count], message)
                                      : read_gap(part, parser.gaps[count], parser, message);
            if (of_parts != VIGIE_PARSED) return -1;
            count++;
        }
        return is_streams ? 1 : 2;
    });
    return of_parts != VIGIE_PARSED ? of_parts : outcome;
}

vigie_outcome vigie_parse(vigie_parser *parser, const void *bytes, size_t count, vigie_message *message) {
    message->present = 0;
    message->field = -1;
    message->part = nullptr;
    message->is_report = false;
    message->fault_count = 0;
    message->simulated = false;
    if (count > parser->capacity) return VIGIE_NO_MEMORY;
    if (count > 0) std::memcpy(parser->buffer.get(), bytes, count);

    element document;
    switch (parser->parser.parse(parser->buffer.get(), count, false).get(document)) {
    case simdjson::SUCCESS: break;
    case simdjson::UTF8_ERROR: return VIGIE_NOT_UTF8;
    case simdjson::MEMALLOC: return VIGIE_NO_MEMORY;
    default: return VIGIE_NOT_JSON;
    }
    simdjson::dom::object object;
    if (document.get(object) != simdjson::SUCCESS) return VIGIE_NOT_AN_OBJECT;

    int32_t next = 0;
    element report;
    for (const auto [key, value] : object) {
        const int32_t index = index_of(key, next, *parser);
        if (index < 0) continue;
        next = index + 1;
        const int32_t field = parser->fields[index];
        message->field = field;
        const uint32_t bit = uint32_t(1) << field;
        if (message->present & bit) return VIGIE_DUPLICATE_FIELD;
        message->present |= bit;
        if (field == VIGIE_FAULTS) {
            const vigie_outcome outcome = read_faults(value, *message);
            if (outcome != VIGIE_PARSED) return outcome;
        } else if (field == VIGIE_REPORT) {
            // Beside a sensor_id, which may come later, it is a field that nobody knows.
            report = value;
        } else if (!read_field(field, value, *message)) {
            return VIGIE_WRONG_TYPE;
        }
    }
    message->field = -1;
    if ((message->present & (uint32_t(1) << VIGIE_REPORT)) == 0 || (message->present & (uint32_t(1) << VIGIE_SENSOR_ID)))
        return VIGIE_PARSED;
    const vigie_outcome outcome = read_report(report, *parser, *message);
    if (outcome == VIGIE_PARSED) message->field = -1;
    return outcome;
}
