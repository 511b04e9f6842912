import SensorBus

/// What usually sits at an address, for a person who looks at an unknown chip: makers' habits, no evidence.
func usualOccupant(of address: I2CAddress) -> String? {
    switch address.value {
    case 0x0D: "a compass (QMC5883L)"
    case 0x20...0x27: "a device expander (PCF8574, MCP23017)"
    case 0x29: "a distance or light sensor (VL53L0X, TSL2591)"
    case 0x36: "a fuel gauge (MAX17048) or a soil sensor"
    case 0x38: "a humidity sensor (AHT20)"
    case 0x3C, 0x3D: "a display (SSD1306)"
    case 0x40...0x43: "a power monitor (INA219) or a humidity sensor (HDC1080, HTU21)"
    case 0x48...0x4B: "a temperature sensor (TMP102, LM75)"
    case 0x50...0x57: "a memory (24Cxx)"
    case 0x58: "a gas sensor (SGP30)"
    case 0x59: "a gas sensor (SGP40, SGP41)"
    case 0x5A, 0x5B: "a gas or infrared sensor (CCS811, MLX90614)"
    case 0x61: "a CO2 sensor (SCD30)"
    case 0x68: "a real-time clock (DS3231, PCF8523)"
    case 0x69: "a particle sensor (SEN50, SPS30) or a motion sensor"
    case 0x76, 0x77: "a barometer (MS5611)"
    default: nil
    }
}
