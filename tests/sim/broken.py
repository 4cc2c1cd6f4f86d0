#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Breaks one rule of the tracker in a copy of the one source file that keeps it.

With -Dsim_broken=true the simulation is built once more for each of these, with the copy in the
place of the original, and a test of the suite `broken` shows that it notices.

usage: broken.py --list                    one line a break: its name and its source file
       broken.py NAME SOURCE OUT           writes the copy; fails where the text to break is not
                                           there exactly once
"""

import pathlib
import sys

# name, what is broken, source file, text, text in its place
BREAKS = [
    ("R1", "a slot is reused while the control lcore still knows its channel",
     "lib/conn/conn.c",
     "	if (!(c->flags & CONN_CHANNEL))\n		conn_slot_quiet(cs, c);",
     "	c->flags &= (uint16_t)~CONN_CHANNEL;\n	conn_slot_quiet(cs, c);"),
    ("R2", "stamps are not looked at",
     "lib/cm/open.c",
     "if (cm_older(cur->stamp_ns, cur->chan, row->stamp_ns, row->id))",
     "if (0 && cm_older(cur->stamp_ns, cur->chan, row->stamp_ns, row->id))"),
    ("R3", "after `noproc` the channel is not read again, its session is dropped",
     "lib/cm/takeover.c",
     "	if (!row || !cm_row_up(row)) {\n		if (!row || !lock->cmd",
     "	if (row && cm_row_state(row) == MQT_CHAN_RETAINED)\n"
     "		cm_retained_discard(cm, row);\n"
     "	if (!row || !cm_row_up(row)) {\n		if (!row || !lock->cmd"),
    ("R4", "the next waiter is served before GRANT is answered",
     "lib/cm/locker.c",
     "		case CM_LOCK_GRANTING:\n			return;\n",
     "		case CM_LOCK_GRANTING:\n			if (!lock->waiter)\n				return;\n"
     "			serve_next(cm, lock);\n			break;\n"),
    ("R4-return", "a newcomer that died before its GRANT came leaves no session",
     "lib/cm/admit.c",
     "		bury(cm, note, row, msg->session);\n",
     "		bury(cm, note, row, (mqt_session_destroy(msg->session), NULL));\n"),
    ("R4-frozen", "a frozen flow has no limit",
     "lib/conn/freeze.c",
     "	conn_arm(cs, c, cs->config->limits.opening_ms * MQT_NS_PER_MS);\n",
     ""),
    ("R5", "packets of a killed channel are not withheld",
     "lib/conn/tx.c",
     "						p->killed[i]) {",
     "						p->killed[i] + 1) {"),
    ("R6", "a message that does not fit its ring is dropped",
     "lib/cm/mailbox.c",
     "		outbox_push(&pipe->outbox, msg);",
     "		(void)outbox_push;"),
    ("R7", "time in which the control lcore did not run counts against the workers",
     "lib/cm/cm.c",
     "	if (gap <= CM_MAX_GAP_NS) {",
     "	if (gap <= UINT64_MAX) {"),
    ("R7-opening", "an OPENING has no limit",
     "lib/conn/open.c",
     "	conn_set_state(cs, c, MQT_CONN_OPENING);\n"
     "	conn_arm(cs, c, cs->config->limits.opening_ms * MQT_NS_PER_MS);\n",
     "	conn_set_state(cs, c, MQT_CONN_OPENING);\n"
     "	mqt_wheel_disarm(cs->wheel, &c->timer);\n"),
    ("R8", "the channels of a stalled worker stay live",
     "lib/cm/orphan.c",
     "	bool orphan = walk == CM_WALK_ORPHAN;\n",
     "	bool orphan = walk == CM_WALK_ORPHAN;\n\n	if (orphan)\n		return false;\n"),
    ("R8-down", "the channels of a stalled worker are taken for down",
     "lib/cm/orphan.c",
     "	bool orphan = walk == CM_WALK_ORPHAN;\n",
     "	bool orphan = walk == CM_WALK_ORPHAN;\n"
     "	struct mqt_chan *row = mqt_maps_get(cm->maps, id);\n\n"
     "	if (orphan && row && cm_row_up(row)) {\n"
     "		cm_chan_down(cm, row, MQT_REASON_NONE);\n"
     "		cm_down_push(cm, id);\n"
     "		return true;\n"
     "	}\n"),
    ("R8-back", "the channels of a worker that answers again stay orphans",
     "lib/cm/orphan.c",
     "	bool orphan = walk == CM_WALK_ORPHAN;\n",
     "	bool orphan = walk == CM_WALK_ORPHAN;\n\n	if (!orphan)\n		return false;\n"),
    ("R9", "the old rows are removed before the new one is there",
     "lib/cm/admit.c",
     "	if (rows_full(cm) && lock->stepped)\n",
     "	if (lock->stepped)\n"),
    ("R10", "rows are reused before their grace period ends",
     "lib/maps/maps.c",
     "maps->reclaimed != completed",
     "maps->retired_first != NO_PLACE && completed < UINT64_MAX"),
    ("R11", "the begin of a CONNACK passes before it is complete",
     "lib/conn/reply.c",
     "			return REPLY_WAITS;",
     "			return REPLY_PASSES;"),
    ("R12", "a flow parks as much as its broker sends",
     "lib/conn/park.c",
     "	if (s->n_held < cs->parked_max) {",
     "	if (s->n_held < UINT8_MAX) {"),
    ("I4", "a newcomer does not wait for those that step down",
     "lib/cm/locker.c",
     "		if (lock->n_asks > 0)\n			return;",
     "		if (lock->n_asks > 0 && lock->state != CM_LOCK_STEPPING)\n			return;"),
    ("I7", "the session of a taken-over connection is thrown away",
     "lib/cm/takeover.c",
     "	note->session = NULL;\n	if (!row ||",
     "	note->session = NULL;\n	mqt_session_destroy(session);\n	session = NULL;\n	if (!row ||"),
    ("ws-speech", "a connection in WebSocket frames is ended without frames",
     "lib/conn/close.c",
     "	if (!(c->flags & CONN_WS))\n		return mqtt_packet(c, from, buf);\n",
     "	if (c->flags | CONN_WS)\n		return mqtt_packet(c, from, buf);\n"),
    ("ws-R11", "the begin of a CONNACK in frames passes before it is complete",
     "lib/conn/ws.c",
     "	if (hs->reply_len > 0 && hs->reply[0] >> 4 == MQT_MQTT_CONNACK)\n"
     "		return REPLY_WAITS;\n",
     "	if (hs->reply_len > 0 && hs->reply[0] >> 4 == MQT_MQTT_CONNACK)\n"
     "		return REPLY_PASSES;\n"),
    ("I8", "events carry the wall clock's time as the monotonic one",
     "lib/cm/channel.c",
     "	ev->mono_ns = cm->now_ns;",
     "	ev->mono_ns = cm->wall_ns;"),
    ("I8-clock", "the control lcore goes by the wall clock",
     "lib/cm/cm.c",
     "	cm->now_ns = mqt_clock_mono(cm->clock);",
     "	cm->now_ns = mqt_clock_wall(cm->clock);"),
]


def main(args):
    if args == ["--list"]:
        for name, _, source, _, _ in BREAKS:
            print(name, source)
        return
    name, source, out = args
    [(what, path, old, new)] = [b[1:] for b in BREAKS if b[0] == name]
    text = pathlib.Path(source).read_text()
    if text.count(old) != 1:
        sys.exit(f"{name} ({what}): {path} has {text.count(old)} places to break, wanted one: "
                 f"bring tests/sim/broken.py up to date\n{old}")
    line = f'#line 1 "{path}"\n'
    pathlib.Path(out).write_text(line + text.replace(old, new))


main(sys.argv[1:])
