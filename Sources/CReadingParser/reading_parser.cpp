#include "reading_parser.h"

#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include <simdjson.h>

using simdjson::dom::element;
using simdjson::dom::element_type;

struct vigie_parser {
    simdjson::dom::parser parser;
    // simdjson reads beyond the end of the text, so it is copied to a buffer that has room for that.
    std::unique_ptr<char[]> buffer;
    size_t capacity;
};

static constexpr std::string_view names[VIGIE_FIELD_COUNT] = {
    "schema",      "gateway_id", "sensor_id", "stream_id", "seq",           "event_time",      "time_quality",
    "interval_ms", "temperature", "humidity", "co2",       "pressure",      "battery_level",   "battery_voltage",
    "faults",      "latitude",   "longitude", "simulated",
};

const char *vigie_field_name(int32_t field) {
    return field >= 0 && field < VIGIE_FIELD_COUNT ? names[field].data() : "";
}

vigie_parser *vigie_parser_new(size_t capacity) {
    std::unique_ptr<vigie_parser> parser(new (std::nothrow) vigie_parser());
    if (!parser) return nullptr;
    parser->buffer.reset(new (std::nothrow) char[capacity + simdjson::SIMDJSON_PADDING]());
    parser->capacity = capacity;
    if (!parser->buffer || parser->parser.allocate(capacity) != simdjson::SUCCESS) return nullptr;
    return parser.release();
}

void vigie_parser_free(vigie_parser *parser) { delete parser; }

// Fields mostly come in the contract's order, so the search begins where the last one was found.
static int32_t field_of(std::string_view key, int32_t first) {
    int32_t field = first;
    for (int32_t tried = 0; tried < VIGIE_FIELD_COUNT; tried++) {
        if (field >= VIGIE_FIELD_COUNT) field = 0;
        if (names[field] == key) return field;
        field++;
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
    switch (field) {
    case VIGIE_SCHEMA: return read(value, message.schema);
    case VIGIE_GATEWAY_ID: return read(value, message.gateway_id);
    case VIGIE_SENSOR_ID: return read(value, message.sensor_id);
    case VIGIE_STREAM_ID: return read(value, message.stream_id);
    case VIGIE_SEQ: return read(value, message.seq);
    case VIGIE_EVENT_TIME: return read(value, message.event_time);
    case VIGIE_TIME_QUALITY: return read(value, message.time_quality);
    case VIGIE_INTERVAL_MS: return read(value, message.interval_ms);
    case VIGIE_TEMPERATURE: return read(value, message.temperature);
    case VIGIE_HUMIDITY: return read(value, message.humidity);
    case VIGIE_CO2: return read(value, message.co2);
    case VIGIE_PRESSURE: return read(value, message.pressure);
    case VIGIE_BATTERY_LEVEL: return read(value, message.battery_level);
    case VIGIE_BATTERY_VOLTAGE: return read(value, message.battery_voltage);
    case VIGIE_LATITUDE: return read(value, message.latitude);
    case VIGIE_LONGITUDE: return read(value, message.longitude);
    case VIGIE_SIMULATED: return read(value, message.simulated);
    default: return false;
    }
}

vigie_outcome vigie_parse(vigie_parser *parser, const void *bytes, size_t count, vigie_message *message) {
    message->present = 0;
    message->field = -1;
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
    for (const auto [key, value] : object) {
        const int32_t field = field_of(key, next);
        if (field < 0) continue;
        next = field + 1;
        message->field = field;
        const uint32_t bit = uint32_t(1) << field;
        if (message->present & bit) return VIGIE_DUPLICATE_FIELD;
        message->present |= bit;
        if (field == VIGIE_FAULTS) {
            const vigie_outcome outcome = read_faults(value, *message);
            if (outcome != VIGIE_PARSED) return outcome;
        } else if (!read_field(field, value, *message)) {
            return VIGIE_WRONG_TYPE;
        }
    }
    message->field = -1;
    return VIGIE_PARSED;
}
