/* SPDX-License-Identifier: BSD-3-Clause */

typedef int mqtt_mqtt_is_empty;
