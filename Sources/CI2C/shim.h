#pragma once
// The kernel's I2C character device (Documentation/i2c/dev-interface). Swift cannot call the variadic ioctl.
#include <linux/i2c.h>
#include <linux/i2c-dev.h>
#include <sys/ioctl.h>

// What the adapter can do, as I2C_FUNC_ bits. Returns -1 and sets errno on failure.
static inline int vigie_i2c_functions(int device, unsigned long *functions) {
    return ioctl(device, I2C_FUNCS, functions);
}

// One transfer of `count` messages with repeated starts between them. Returns -1 and sets errno on failure.
static inline int vigie_i2c_transfer(int device, struct i2c_msg *messages, unsigned int count) {
    struct i2c_rdwr_ioctl_data data = {messages, count};
    return ioctl(device, I2C_RDWR, &data);
}

// How long the adapter waits for a transfer, in units of 10 ms. Returns -1 and sets errno on failure.
static inline int vigie_i2c_set_timeout(int device, unsigned long units) {
    return ioctl(device, I2C_TIMEOUT, units);
}

// How often the kernel tries again when another master wins the bus. Returns -1 and sets errno on failure.
static inline int vigie_i2c_set_retries(int device, unsigned long retries) {
    return ioctl(device, I2C_RETRIES, retries);
}
