/* SPDX-License-Identifier: BSD-3-Clause */
#include "mqtrack/session.h"
