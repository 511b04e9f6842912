#pragma once
// What both interfaces of libgpiod need.
#include <errno.h>
#include <gpiod.h>
#include <string.h>

#include "gpio.h"

// Neither header tells its version; only that of 1.x defines bulks of lines.
#ifdef GPIOD_LINE_BULK_MAX_LINES
#define VIGIE_GPIOD_1 1
#else
#define VIGIE_GPIOD_1 0
#endif

static inline vigie_gpio_text text_of(const char *text) {
    vigie_gpio_text copy = {{0}};
    if (text) strncpy(copy.text, text, sizeof copy.text - 1);
    return copy;
}

static inline struct gpiod_chip *chip_of(vigie_gpio_chip *chip) { return (struct gpiod_chip *)chip; }
