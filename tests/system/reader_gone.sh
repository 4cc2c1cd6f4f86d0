#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A laboratory whose reader has gone (`... | head`) still removes its namespaces and processes.
. "$(dirname "$0")/prelude.sh"

# A laboratory of its own says its name, and fails; nobody reads the logs behind that.
cat >"$LAB_DIR/inner.sh" <<'END'
. "$MQT_TOP/tests/system/prelude.sh"
echo "$LAB"
fail "the logs behind this have no reader"
END
inner=$(MQT_TOP=$MQT_TOP MQT_BUILD=$MQT_BUILD timeout 60 bash "$LAB_DIR/inner.sh" 2>&1 | head -n 2 | grep mqt-)
expect "the inner laboratory came up" [ "${inner#mqt-}" != "$inner" ]
gone() { ! ip netns list | grep -q "^$inner-"; }
expect_soon "nothing of it is left" gone
