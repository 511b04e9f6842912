#pragma once
// One face over the two interfaces of libgpiod, which have only opening a chip in common: that of 1.x (Debian 12) gives
// lines of a chip, that of 2.x (Debian 13) gives requests made on a chip. Functions return -1 or NULL and set errno on
// failure.
#include <errno.h>
#include <gpiod.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Neither header tells its version; only that of 1.x defines bulks of lines.
#ifdef GPIOD_LINE_BULK_MAX_LINES
#define VIGIE_GPIOD_1 1
#else
#define VIGIE_GPIOD_1 0
#endif

// A text of the kernel's, at most 31 bytes (linux/gpio.h, GPIO_MAX_NAME_SIZE); empty if there is none.
typedef struct {
    char text[32];
} vigie_gpio_text;

static inline vigie_gpio_text vigie_gpio_text_of(const char *text) {
    vigie_gpio_text copy = {{0}};
    if (text) strncpy(copy.text, text, sizeof copy.text - 1);
    return copy;
}

static inline const char *vigie_gpio_text_pointer(const vigie_gpio_text *text) { return text->text; }

// A chip that is open.
typedef struct {
    vigie_gpio_text label;
    unsigned int line_count;
} vigie_gpio_chip_info;

// A line as the kernel shows it to everybody.
typedef struct {
    vigie_gpio_text name;
    vigie_gpio_text consumer;
    bool is_used;
} vigie_gpio_line_info;

enum vigie_gpio_bias {
    VIGIE_GPIO_BIAS_AS_IS,
    VIGIE_GPIO_BIAS_DISABLED,
    VIGIE_GPIO_BIAS_PULL_UP,
    VIGIE_GPIO_BIAS_PULL_DOWN,
};

// How a line is requested.
typedef struct {
    const char *consumer;
    bool is_output;
    bool is_active;  // The first value of an output.
    bool is_active_low;
    bool is_open_drain;
    enum vigie_gpio_bias bias;
    unsigned long debounce_microseconds;  // Of an input; 1.x does none.
} vigie_gpio_options;

// An edge of an input. The time is CLOCK_MONOTONIC's, nanoseconds.
typedef struct {
    uint64_t nanoseconds;
    bool is_rising;
} vigie_gpio_edge;

#define VIGIE_GPIO_EDGES_AT_ONCE 16

#if VIGIE_GPIOD_1

typedef struct gpiod_line vigie_gpio_line;

// Whether the kernel debounces, when asked to.
static inline bool vigie_gpio_debounces(void) { return false; }

static inline int vigie_gpio_chip_describe(struct gpiod_chip *chip, vigie_gpio_chip_info *info) {
    info->label = vigie_gpio_text_of(gpiod_chip_label(chip));
    info->line_count = gpiod_chip_num_lines(chip);
    return 0;
}

static inline int vigie_gpio_line_describe(
    struct gpiod_chip *chip, unsigned int offset, vigie_gpio_line_info *info) {
    struct gpiod_line *line = gpiod_chip_get_line(chip, offset);
    // A line that is known to the chip keeps what was so when it was first asked for.
    if (!line || gpiod_line_update(line) != 0) return -1;
    info->name = vigie_gpio_text_of(gpiod_line_name(line));
    info->consumer = vigie_gpio_text_of(gpiod_line_consumer(line));
    info->is_used = gpiod_line_is_used(line);
    return 0;
}

// Requests a line: an input with events at both edges, or an output. The line lives no longer than the chip is open.
static inline vigie_gpio_line *vigie_gpio_request(
    struct gpiod_chip *chip, unsigned int offset, const vigie_gpio_options *options) {
    struct gpiod_line *line = gpiod_chip_get_line(chip, offset);
    if (!line) return NULL;
    struct gpiod_line_request_config config = {
        .consumer = options->consumer,
        .request_type =
            options->is_output ? GPIOD_LINE_REQUEST_DIRECTION_OUTPUT : GPIOD_LINE_REQUEST_EVENT_BOTH_EDGES,
        .flags = 0,
    };
    if (options->is_active_low) config.flags |= GPIOD_LINE_REQUEST_FLAG_ACTIVE_LOW;
    if (options->is_output && options->is_open_drain) config.flags |= GPIOD_LINE_REQUEST_FLAG_OPEN_DRAIN;
    switch (options->bias) {
    case VIGIE_GPIO_BIAS_AS_IS: break;
    case VIGIE_GPIO_BIAS_DISABLED: config.flags |= GPIOD_LINE_REQUEST_FLAG_BIAS_DISABLE; break;
    case VIGIE_GPIO_BIAS_PULL_UP: config.flags |= GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_UP; break;
    case VIGIE_GPIO_BIAS_PULL_DOWN: config.flags |= GPIOD_LINE_REQUEST_FLAG_BIAS_PULL_DOWN; break;
    }
    return gpiod_line_request(line, &config, options->is_active) == 0 ? line : NULL;
}

static inline void vigie_gpio_release(vigie_gpio_line *line) { gpiod_line_release(line); }

// Returns 1 if the line is active, 0 if not.
static inline int vigie_gpio_value(vigie_gpio_line *line, unsigned int offset) {
    (void)offset;
    return gpiod_line_get_value(line);
}

static inline int vigie_gpio_set_value(vigie_gpio_line *line, unsigned int offset, bool is_active) {
    (void)offset;
    return gpiod_line_set_value(line, is_active);
}

// The descriptor to poll for edges of an input; the line owns it.
static inline int vigie_gpio_edge_descriptor(vigie_gpio_line *line) { return gpiod_line_event_get_fd(line); }

// Reads the edges that wait, at most VIGIE_GPIO_EDGES_AT_ONCE; blocks if there is none. Returns their number.
static inline int vigie_gpio_read_edges(vigie_gpio_line *line, vigie_gpio_edge *edges) {
    struct gpiod_line_event events[VIGIE_GPIO_EDGES_AT_ONCE];
    int count = gpiod_line_event_read_multiple(line, events, VIGIE_GPIO_EDGES_AT_ONCE);
    for (int index = 0; index < count; index++) {
        edges[index].nanoseconds = (uint64_t)events[index].ts.tv_sec * 1000000000u + (uint64_t)events[index].ts.tv_nsec;
        edges[index].is_rising = events[index].event_type == GPIOD_LINE_EVENT_RISING_EDGE;
    }
    return count;
}

#else

typedef struct gpiod_line_request vigie_gpio_line;

static inline bool vigie_gpio_debounces(void) { return true; }

static inline int vigie_gpio_chip_describe(struct gpiod_chip *chip, vigie_gpio_chip_info *info) {
    struct gpiod_chip_info *found = gpiod_chip_get_info(chip);
    if (!found) return -1;
    info->label = vigie_gpio_text_of(gpiod_chip_info_get_label(found));
    info->line_count = (unsigned int)gpiod_chip_info_get_num_lines(found);
    gpiod_chip_info_free(found);
    return 0;
}

static inline int vigie_gpio_line_describe(
    struct gpiod_chip *chip, unsigned int offset, vigie_gpio_line_info *info) {
    struct gpiod_line_info *found = gpiod_chip_get_line_info(chip, offset);
    if (!found) return -1;
    info->name = vigie_gpio_text_of(gpiod_line_info_get_name(found));
    info->consumer = vigie_gpio_text_of(gpiod_line_info_get_consumer(found));
    info->is_used = gpiod_line_info_is_used(found);
    gpiod_line_info_free(found);
    return 0;
}

static inline int vigie_gpio_apply(struct gpiod_line_settings *settings, const vigie_gpio_options *options) {
    gpiod_line_settings_set_active_low(settings, options->is_active_low);
    enum gpiod_line_bias bias = GPIOD_LINE_BIAS_AS_IS;
    switch (options->bias) {
    case VIGIE_GPIO_BIAS_AS_IS: break;
    case VIGIE_GPIO_BIAS_DISABLED: bias = GPIOD_LINE_BIAS_DISABLED; break;
    case VIGIE_GPIO_BIAS_PULL_UP: bias = GPIOD_LINE_BIAS_PULL_UP; break;
    case VIGIE_GPIO_BIAS_PULL_DOWN: bias = GPIOD_LINE_BIAS_PULL_DOWN; break;
    }
    if (gpiod_line_settings_set_bias(settings, bias) != 0) return -1;
    if (!options->is_output) {
        gpiod_line_settings_set_debounce_period_us(settings, options->debounce_microseconds);
        if (gpiod_line_settings_set_direction(settings, GPIOD_LINE_DIRECTION_INPUT) != 0) return -1;
        return gpiod_line_settings_set_edge_detection(settings, GPIOD_LINE_EDGE_BOTH);
    }
    if (gpiod_line_settings_set_direction(settings, GPIOD_LINE_DIRECTION_OUTPUT) != 0) return -1;
    if (options->is_open_drain && gpiod_line_settings_set_drive(settings, GPIOD_LINE_DRIVE_OPEN_DRAIN) != 0) return -1;
    return gpiod_line_settings_set_output_value(
        settings, options->is_active ? GPIOD_LINE_VALUE_ACTIVE : GPIOD_LINE_VALUE_INACTIVE);
}

static inline vigie_gpio_line *vigie_gpio_request(
    struct gpiod_chip *chip, unsigned int offset, const vigie_gpio_options *options) {
    struct gpiod_line_settings *settings = gpiod_line_settings_new();
    struct gpiod_line_config *lines = gpiod_line_config_new();
    struct gpiod_request_config *config = gpiod_request_config_new();
    struct gpiod_line_request *request = NULL;
    if (settings && lines && config && vigie_gpio_apply(settings, options) == 0 &&
        gpiod_line_config_add_line_settings(lines, &offset, 1, settings) == 0) {
        gpiod_request_config_set_consumer(config, options->consumer);
        request = gpiod_chip_request_lines(chip, config, lines);
    }
    int code = errno;
    gpiod_request_config_free(config);
    gpiod_line_config_free(lines);
    gpiod_line_settings_free(settings);
    errno = code;
    return request;
}

static inline void vigie_gpio_release(vigie_gpio_line *line) { gpiod_line_request_release(line); }

static inline int vigie_gpio_value(vigie_gpio_line *line, unsigned int offset) {
    return gpiod_line_request_get_value(line, offset);
}

static inline int vigie_gpio_set_value(vigie_gpio_line *line, unsigned int offset, bool is_active) {
    return gpiod_line_request_set_value(
        line, offset, is_active ? GPIOD_LINE_VALUE_ACTIVE : GPIOD_LINE_VALUE_INACTIVE);
}

static inline int vigie_gpio_edge_descriptor(vigie_gpio_line *line) { return gpiod_line_request_get_fd(line); }

static inline int vigie_gpio_read_edges(vigie_gpio_line *line, vigie_gpio_edge *edges) {
    struct gpiod_edge_event_buffer *buffer = gpiod_edge_event_buffer_new(VIGIE_GPIO_EDGES_AT_ONCE);
    if (!buffer) return -1;
    int count = gpiod_line_request_read_edge_events(line, buffer, VIGIE_GPIO_EDGES_AT_ONCE);
    int code = errno;
    for (int index = 0; index < count; index++) {
        struct gpiod_edge_event *event = gpiod_edge_event_buffer_get_event(buffer, (unsigned long)index);
        edges[index].nanoseconds = gpiod_edge_event_get_timestamp_ns(event);
        edges[index].is_rising = gpiod_edge_event_get_event_type(event) == GPIOD_EDGE_EVENT_RISING_EDGE;
    }
    gpiod_edge_event_buffer_free(buffer);
    errno = code;
    return count;
}

#endif
