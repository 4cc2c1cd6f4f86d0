/* SPDX-License-Identifier: BSD-3-Clause */

typedef int base_wheel_is_empty;
