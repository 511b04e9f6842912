#include "common.h"

const char *vigie_gpio_text_pointer(const vigie_gpio_text *text) { return text->text; }

vigie_gpio_chip *vigie_gpio_open(const char *path) { return (vigie_gpio_chip *)gpiod_chip_open(path); }

void vigie_gpio_close(vigie_gpio_chip *chip) { gpiod_chip_close(chip_of(chip)); }
