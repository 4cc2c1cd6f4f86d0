#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The same with MQTT.js.
exec bash "$(dirname "$0")/clients.sh" mqttjs
