#include "reading_columns.h"

#include <bit>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

std::string_view view(const vigie_text &text) { return {reinterpret_cast<const char *>(text.bytes), text.count}; }

bool has(const vigie_message &message, int field) { return message.present & (uint32_t(1) << field); }

constexpr uint32_t required_fields = [] {
    uint32_t fields = 0;
    for (const int field : {VIGIE_SCHEMA, VIGIE_GATEWAY_ID, VIGIE_SENSOR_ID, VIGIE_STREAM_ID, VIGIE_SEQ, VIGIE_EVENT_TIME,
                            VIGIE_TIME_QUALITY, VIGIE_INTERVAL_MS})
        fields |= uint32_t(1) << field;
    return fields;
}();

bool is_identifier(std::string_view text) {
    if (text.empty() || text.size() > 64) return false;
    for (const char byte : text) {
        const bool is_allowed = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
            (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
        if (!is_allowed) return false;
    }
    return true;
}

bool is_fault(std::string_view text) {
    const size_t colon = text.find(':');
    return colon != text.npos && is_identifier(text.substr(0, colon)) && is_identifier(text.substr(colon + 1));
}

bool read_hexadecimal(std::string_view text, uint64_t &bits) {
    if (text.size() != 16) return false;
    bits = 0;
    for (const char byte : text) {
        int digit;
        if (byte >= '0' && byte <= '9') digit = byte - '0';
        else if (byte >= 'a' && byte <= 'f') digit = byte - 'a' + 10;
        else if (byte >= 'A' && byte <= 'F') digit = byte - 'A' + 10;
        else return false;
        bits = bits << 4 | uint64_t(digit);
    }
    return true;
}

bool read_digits(std::string_view text, size_t offset, size_t count, int64_t &number) {
    number = 0;
    for (size_t index = offset; index < offset + count; index++) {
        if (text[index] < '0' || text[index] > '9') return false;
        number = number * 10 + (text[index] - '0');
    }
    return true;
}

// Days since 1970 in the Gregorian calendar, by years that begin in March.
int64_t days_since_epoch(int64_t year, int64_t month, int64_t day) {
    const int64_t shifted = month <= 2 ? year - 1 : year;
    const int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
    const int64_t year_of_era = shifted - era * 400;
    const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

int64_t days_in_month(int64_t year, int64_t month) {
    if (month == 2) return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

// Reads a time as gateways write it: `2026-11-24T08:15:30.123Z`.
bool read_time(std::string_view text, int64_t &milliseconds) {
    int64_t year, month, day, hour, minute, second, rest;
    if (text.size() != 24 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
        text[19] != '.' || text[23] != 'Z' || !read_digits(text, 0, 4, year) || !read_digits(text, 5, 2, month) ||
        !read_digits(text, 8, 2, day) || !read_digits(text, 11, 2, hour) || !read_digits(text, 14, 2, minute) ||
        !read_digits(text, 17, 2, second) || !read_digits(text, 20, 3, rest))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 59)
        return false;
    milliseconds =
        days_since_epoch(year, month, day) * 86400000 + hour * 3600000 + minute * 60000 + second * 1000 + rest;
    return true;
}

// Texts, each with the index of its first use; of one group texts are the same only to it.
class Names {
public:
    int32_t index(int32_t group, std::string_view text) {
        key.assign(reinterpret_cast<const char *>(&group), sizeof group);
        key.append(text);
        const auto [place, is_new] = indices.try_emplace(key, int32_t(texts.size()));
        if (is_new) {
            texts.emplace_back(text);
            groups.push_back(group);
        }
        return place->second;
    }

    std::vector<std::string> texts;
    std::vector<int32_t> groups;

private:
    std::unordered_map<std::string, int32_t> indices;
    std::string key;
};

}  // namespace

struct vigie_batch {
    vigie_parser *parser = nullptr;
    size_t capacity = 0;
    size_t quantity_count = 0;
    vigie_message message;
    Names gateways, sensors, faults;
    std::vector<std::pair<int32_t, uint64_t>> streams;
    std::unordered_map<std::string, int32_t> stream_indices;
    std::string text;

    ~vigie_batch() { vigie_parser_free(parser); }

    int32_t stream(int32_t gateway, uint64_t bits) {
        text.assign(reinterpret_cast<const char *>(&gateway), sizeof gateway);
        text.append(reinterpret_cast<const char *>(&bits), sizeof bits);
        const auto [place, is_new] = stream_indices.try_emplace(text, int32_t(streams.size()));
        if (is_new) streams.emplace_back(gateway, bits);
        return place->second;
    }

    bool decode(const uint8_t *bytes, size_t count, const vigie_limits &limits, const vigie_columns &columns, size_t row);
};

vigie_batch *vigie_batch_new(size_t capacity, const char *quantities, size_t quantity_count) {
    std::unique_ptr<vigie_batch> batch(new (std::nothrow) vigie_batch());
    if (!batch) return nullptr;
    batch->parser = vigie_parser_new(capacity, quantities);
    batch->capacity = capacity;
    batch->quantity_count = quantity_count;
    return batch->parser ? batch.release() : nullptr;
}

void vigie_batch_free(vigie_batch *batch) { delete batch; }

bool vigie_batch::decode(
    const uint8_t *bytes, size_t count, const vigie_limits &limits, const vigie_columns &columns, size_t row) {
    if (count == 0 || count > capacity || vigie_parse(parser, bytes, count, &message) != VIGIE_PARSED) return false;
    if (message.is_report || (message.present & required_fields) != required_fields || message.schema != 1) return false;
    uint64_t bits;
    int64_t time;
    if (!read_hexadecimal(view(message.stream_id), bits) || !read_time(view(message.event_time), time)) return false;
    if (time < limits.earliest || time > limits.latest) return false;
    if (message.seq < 1 || message.seq > limits.largest_number) return false;
    const int64_t first = has(message, VIGIE_STREAM_FIRST) ? message.stream_first : 1;
    if (first < 1 || first > message.seq) return false;
    if (message.interval_ms < 1 || message.interval_ms > limits.longest_interval) return false;
    if (!is_identifier(view(message.gateway_id)) || !is_identifier(view(message.sensor_id))) return false;
    const bool is_estimated = view(message.time_quality) == "estimated";
    if (!is_estimated && view(message.time_quality) != "synced") return false;

    const uint32_t quantities = message.present >> VIGIE_FIRST_QUANTITY & ((uint32_t(1) << quantity_count) - 1);
    for (size_t index = 0; index < quantity_count; index++) {
        if (!(quantities & uint32_t(1) << index)) continue;
        const double value = message.quantities[index];
        if (!(value >= limits.lowest[index] && value <= limits.highest[index])) return false;
        columns.values[index * columns.stride + row] = value;
    }
    const bool has_latitude = has(message, VIGIE_LATITUDE), has_longitude = has(message, VIGIE_LONGITUDE);
    if (has_latitude && !(message.latitude >= -90 && message.latitude <= 90)) return false;
    if (has_longitude && !(message.longitude >= -180 && message.longitude <= 180)) return false;
    columns.faults[row] = -1;
    if (message.fault_count > 0) {
        text.clear();
        for (uint32_t index = 0; index < message.fault_count; index++) {
            const std::string_view fault = view(message.faults[index]);
            if (!is_fault(fault)) return false;
            if (index > 0) text += ' ';
            text += fault;
        }
        const std::string joined = text;
        columns.faults[row] = faults.index(0, joined);
    }
    const int32_t gateway = gateways.index(0, view(message.gateway_id));
    columns.stream[row] = stream(gateway, bits);
    columns.sensor[row] = sensors.index(gateway, view(message.sensor_id));
    columns.sequence[row] = message.seq;
    columns.stream_first[row] = first;
    columns.event_time[row] = time;
    columns.interval[row] = message.interval_ms;
    columns.is_estimated[row] = is_estimated;
    columns.is_simulated[row] = message.simulated;
    columns.quantities[row] = quantities;
    columns.has_latitude[row] = has_latitude;
    columns.has_longitude[row] = has_longitude;
    columns.latitude[row] = has_latitude ? message.latitude : 0;
    columns.longitude[row] = has_longitude ? message.longitude : 0;
    return true;
}

size_t vigie_batch_decode(
    vigie_batch *batch, const uint8_t *bytes, const int32_t *offsets, size_t count, const vigie_limits *limits,
    const vigie_columns *columns, size_t first) {
    size_t readings = 0;
    for (size_t index = 0; index < count; index++) {
        const bool is_reading = batch->decode(
            bytes + offsets[index], size_t(offsets[index + 1] - offsets[index]), *limits, *columns, first + index);
        columns->is_reading[first + index] = is_reading;
        readings += is_reading;
    }
    return readings;
}

size_t vigie_batch_gateway_count(const vigie_batch *batch) { return batch->gateways.texts.size(); }

const char *vigie_batch_gateway(const vigie_batch *batch, size_t index) { return batch->gateways.texts[index].c_str(); }

size_t vigie_batch_sensor_count(const vigie_batch *batch) { return batch->sensors.texts.size(); }

const char *vigie_batch_sensor(const vigie_batch *batch, size_t index, int32_t *gateway) {
    *gateway = batch->sensors.groups[index];
    return batch->sensors.texts[index].c_str();
}

size_t vigie_batch_stream_count(const vigie_batch *batch) { return batch->streams.size(); }

uint64_t vigie_batch_stream(const vigie_batch *batch, size_t index, int32_t *gateway) {
    *gateway = batch->streams[index].first;
    return batch->streams[index].second;
}

size_t vigie_batch_faults_count(const vigie_batch *batch) { return batch->faults.texts.size(); }

const char *vigie_batch_faults(const vigie_batch *batch, size_t index) { return batch->faults.texts[index].c_str(); }

// MARK: COPY

namespace {

constexpr char signature[] = "PGCOPY\n\377\r\n";  // with its zero byte
constexpr size_t header_size = sizeof signature + 8;

template <typename Number>
uint8_t *append(uint8_t *place, Number number) {
    for (size_t index = sizeof number; index > 0; index--) *place++ = uint8_t(number >> (8 * (index - 1)));
    return place;
}

template <typename Number>
uint8_t *append_element(uint8_t *place, const void *numbers, size_t row) {
    return append(place, static_cast<const Number *>(numbers)[row]);
}

}  // namespace

size_t vigie_copy_size(const vigie_copy_column *columns, size_t column_count, size_t row_count) {
    size_t size = header_size + 2 + row_count * (2 + 4 * column_count);
    for (size_t index = 0; index < column_count; index++) {
        const vigie_copy_column &column = columns[index];
        for (size_t row = 0; row < row_count; row++) {
            if (column.dictionary) {
                const int32_t code = column.codes[row];
                if (code >= 0) size += size_t(column.dictionary_offsets[code + 1] - column.dictionary_offsets[code]);
            } else if (!column.is_null || !column.is_null[row]) {
                size += column.width;
            }
        }
    }
    return size;
}

void vigie_copy_encode(const vigie_copy_column *columns, size_t column_count, size_t row_count, uint8_t *stream) {
    std::memcpy(stream, signature, sizeof signature);
    uint8_t *place = append(append(stream + sizeof signature, uint32_t(0)), uint32_t(0));
    for (size_t row = 0; row < row_count; row++) {
        place = append(place, uint16_t(column_count));
        for (size_t index = 0; index < column_count; index++) {
            const vigie_copy_column &column = columns[index];
            if (column.dictionary) {
                const int32_t code = column.codes[row];
                if (code < 0) {
                    place = append(place, uint32_t(-1));
                    continue;
                }
                const int64_t from = column.dictionary_offsets[code];
                const size_t size = size_t(column.dictionary_offsets[code + 1] - from);
                place = append(place, uint32_t(size));
                std::memcpy(place, column.dictionary + from, size);
                place += size;
            } else if (column.is_null && column.is_null[row]) {
                place = append(place, uint32_t(-1));
            } else {
                place = append(place, uint32_t(column.width));
                switch (column.width) {
                case 1: place = append_element<uint8_t>(place, column.numbers, row); break;
                case 2: place = append_element<uint16_t>(place, column.numbers, row); break;
                case 4: place = append_element<uint32_t>(place, column.numbers, row); break;
                default: place = append_element<uint64_t>(place, column.numbers, row); break;
                }
            }
        }
    }
    append(place, uint16_t(-1));
}
