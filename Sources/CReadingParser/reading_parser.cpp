#include "reading_parser.h"
