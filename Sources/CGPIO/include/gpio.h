#pragma once
// GPIO lines by libgpiod, with one face over its two interfaces, which have only opening a chip in common: that of 1.x
// (Debian 12) gives lines of a chip, that of 2.x (Debian 13) gives requests made on a chip. Functions return -1 or NULL
// and set errno on failure.
#include <stdbool.h>
#include <stdint.h>

// A chip that is open, and a line that is taken.
typedef struct vigie_gpio_chip vigie_gpio_chip;
typedef struct vigie_gpio_line vigie_gpio_line;

// A text of the kernel's, at most 31 bytes (linux/gpio.h, GPIO_MAX_NAME_SIZE); empty if there is none.
typedef struct {
    char text[32];
} vigie_gpio_text;

// What a chip says of itself.
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

// The characters of a text, which end with a zero.
const char *vigie_gpio_text_pointer(const vigie_gpio_text *text);

// Opens a chip by its device file, such as /dev/gpiochip0.
vigie_gpio_chip *vigie_gpio_open(const char *path);
void vigie_gpio_close(vigie_gpio_chip *chip);

int vigie_gpio_chip_describe(vigie_gpio_chip *chip, vigie_gpio_chip_info *info);

// Describes a line as it is now.
int vigie_gpio_line_describe(vigie_gpio_chip *chip, unsigned int offset, vigie_gpio_line_info *info);

// Whether the kernel debounces, when asked to.
bool vigie_gpio_debounces(void);

// Requests a line: an input with events at both edges, or an output. The line lives no longer than the chip is open.
vigie_gpio_line *vigie_gpio_request(vigie_gpio_chip *chip, unsigned int offset, const vigie_gpio_options *options);
void vigie_gpio_release(vigie_gpio_line *line);

// Returns 1 if the line is active, 0 if not.
int vigie_gpio_value(vigie_gpio_line *line, unsigned int offset);
int vigie_gpio_set_value(vigie_gpio_line *line, unsigned int offset, bool is_active);

// The descriptor to poll for edges of an input; the line owns it.
int vigie_gpio_edge_descriptor(vigie_gpio_line *line);

// Reads the edges that wait, at most VIGIE_GPIO_EDGES_AT_ONCE; blocks if there is none. Returns their number.
int vigie_gpio_read_edges(vigie_gpio_line *line, vigie_gpio_edge *edges);
