// libgpiod 2.x: a line is a request made on its chip.
#include "common.h"

#if !VIGIE_GPIOD_1

static struct gpiod_line_request *line_of(vigie_gpio_line *line) { return (struct gpiod_line_request *)line; }

bool vigie_gpio_debounces(void) { return true; }

int vigie_gpio_chip_describe(vigie_gpio_chip *chip, vigie_gpio_chip_info *info) {
    struct gpiod_chip_info *found = gpiod_chip_get_info(chip_of(chip));
    if (!found) return -1;
    info->label = text_of(gpiod_chip_info_get_label(found));
    info->line_count = (unsigned int)gpiod_chip_info_get_num_lines(found);
    gpiod_chip_info_free(found);
    return 0;
}

int vigie_gpio_line_describe(vigie_gpio_chip *chip, unsigned int offset, vigie_gpio_line_info *info) {
    struct gpiod_line_info *found = gpiod_chip_get_line_info(chip_of(chip), offset);
    if (!found) return -1;
    info->name = text_of(gpiod_line_info_get_name(found));
    info->consumer = text_of(gpiod_line_info_get_consumer(found));
    info->is_used = gpiod_line_info_is_used(found);
    gpiod_line_info_free(found);
    return 0;
}

static int apply(struct gpiod_line_settings *settings, const vigie_gpio_options *options) {
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

vigie_gpio_line *vigie_gpio_request(vigie_gpio_chip *chip, unsigned int offset, const vigie_gpio_options *options) {
    struct gpiod_line_settings *settings = gpiod_line_settings_new();
    struct gpiod_line_config *lines = gpiod_line_config_new();
    struct gpiod_request_config *config = gpiod_request_config_new();
    struct gpiod_line_request *request = NULL;
    if (settings && lines && config && apply(settings, options) == 0 &&
        gpiod_line_config_add_line_settings(lines, &offset, 1, settings) == 0) {
        gpiod_request_config_set_consumer(config, options->consumer);
        request = gpiod_chip_request_lines(chip_of(chip), config, lines);
    }
    int code = errno;
    gpiod_request_config_free(config);
    gpiod_line_config_free(lines);
    gpiod_line_settings_free(settings);
    errno = code;
    return (vigie_gpio_line *)request;
}

void vigie_gpio_release(vigie_gpio_line *line) { gpiod_line_request_release(line_of(line)); }

int vigie_gpio_value(vigie_gpio_line *line, unsigned int offset) {
    return gpiod_line_request_get_value(line_of(line), offset);
}

int vigie_gpio_set_value(vigie_gpio_line *line, unsigned int offset, bool is_active) {
    return gpiod_line_request_set_value(
        line_of(line), offset, is_active ? GPIOD_LINE_VALUE_ACTIVE : GPIOD_LINE_VALUE_INACTIVE);
}

int vigie_gpio_edge_descriptor(vigie_gpio_line *line) { return gpiod_line_request_get_fd(line_of(line)); }

int vigie_gpio_read_edges(vigie_gpio_line *line, vigie_gpio_edge *edges) {
    struct gpiod_edge_event_buffer *buffer = gpiod_edge_event_buffer_new(VIGIE_GPIO_EDGES_AT_ONCE);
    if (!buffer) return -1;
    int count = gpiod_line_request_read_edge_events(line_of(line), buffer, VIGIE_GPIO_EDGES_AT_ONCE);
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
