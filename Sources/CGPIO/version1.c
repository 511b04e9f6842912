// libgpiod 1.x: a line belongs to its chip, which keeps it.
#include "common.h"

#if VIGIE_GPIOD_1

static struct gpiod_line *line_of(vigie_gpio_line *line) { return (struct gpiod_line *)line; }

bool vigie_gpio_debounces(void) { return false; }

int vigie_gpio_chip_describe(vigie_gpio_chip *chip, vigie_gpio_chip_info *info) {
    info->label = text_of(gpiod_chip_label(chip_of(chip)));
    info->line_count = gpiod_chip_num_lines(chip_of(chip));
    return 0;
}

int vigie_gpio_line_describe(vigie_gpio_chip *chip, unsigned int offset, vigie_gpio_line_info *info) {
    struct gpiod_line *line = gpiod_chip_get_line(chip_of(chip), offset);
    // A line that is known to the chip keeps what was so when it was first asked for.
    if (!line || gpiod_line_update(line) != 0) return -1;
    info->name = text_of(gpiod_line_name(line));
    info->consumer = text_of(gpiod_line_consumer(line));
    info->is_used = gpiod_line_is_used(line);
    return 0;
}

vigie_gpio_line *vigie_gpio_request(vigie_gpio_chip *chip, unsigned int offset, const vigie_gpio_options *options) {
    struct gpiod_line *line = gpiod_chip_get_line(chip_of(chip), offset);
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
    return gpiod_line_request(line, &config, options->is_active) == 0 ? (vigie_gpio_line *)line : NULL;
}

void vigie_gpio_release(vigie_gpio_line *line) { gpiod_line_release(line_of(line)); }

int vigie_gpio_value(vigie_gpio_line *line, unsigned int offset) {
    (void)offset;
    return gpiod_line_get_value(line_of(line));
}

int vigie_gpio_set_value(vigie_gpio_line *line, unsigned int offset, bool is_active) {
    (void)offset;
    return gpiod_line_set_value(line_of(line), is_active);
}

int vigie_gpio_edge_descriptor(vigie_gpio_line *line) { return gpiod_line_event_get_fd(line_of(line)); }

int vigie_gpio_read_edges(vigie_gpio_line *line, vigie_gpio_edge *edges) {
    struct gpiod_line_event events[VIGIE_GPIO_EDGES_AT_ONCE];
    int count = gpiod_line_event_read_multiple(line_of(line), events, VIGIE_GPIO_EDGES_AT_ONCE);
    for (int index = 0; index < count; index++) {
        edges[index].nanoseconds = (uint64_t)events[index].ts.tv_sec * 1000000000u + (uint64_t)events[index].ts.tv_nsec;
        edges[index].is_rising = events[index].event_type == GPIOD_LINE_EVENT_RISING_EDGE;
    }
    return count;
}

#endif
