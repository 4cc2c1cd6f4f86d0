#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Several workers, on one processor and on all: every packet comes to its flow's owner, takeover
# works across workers, and each worker has its share.
. "$(dirname "$0")/prelude.sh"

round() {
	py <<'END' || fail "with these workers"
from mqttraw import *
import os
from control import call, clients, client as record, counter, expect, soon
NORTH, SOUTH = os.environ["NORTH"], os.environ["SOUTH"]
made = [client(NORTH, clientid=f"w{i}", version=(V31, V311, V5)[i % 3]) for i in range(60)]
listed = clients()
expect("60 are listed", len(listed) == 60)
expect("each worker owns some", {c["worker"] for c in listed} ==
       {w["worker"] for w in call("workers.list")["workers"]})
for each in made:
    each.subscribe("t/" + str(each.port), 1)
    each.publish("t/" + str(each.port), os.urandom(20000), 1)
    each.message()
again = [client(SOUTH, clientid=f"w{i}", version=(V31, V311, V5)[i % 2]) for i in range(60)]
# What several workers send waits in the backlogs of several CPUs, so the order is not seen here.
soon("every older connection ends", lambda: not [each.port for each in made if each.open()])
expect("60 are live", len(clients()) == 60 and {c["broker"] for c in clients()} == {"south"})
for i in range(30):
    call("clients.kick", clientid=f"w{i}")
    again[i].end()
soon("30 were kicked", lambda: len(clients()) == 30)
for each in again[30:]:
    each.ping()
print("handed over:", counter("handed_over"), "dropped:", counter("handover_dropped"))
expect("no client id was live twice", counter("duplicates") == 0)
END
}

first=$(lab_cpus | head -n 1)
MQT_LCORES="0@$first,1@$first,2@$first,3@$first" lab_tracker 3 || fail "no tracker"
round
lab_end "$LAB_TRACKER"
expect "it stops" [ "$LAB_STATUS" = 0 ]
lab_tracker 2 || fail "no tracker"
round
