-- SPDX-License-Identifier: BSD-3-Clause
-- Sends the files of mqtrack-gen, which Pktgen was given by -s 0:outside.pcap [-s 1:inside.pcap].
--
-- MQT_OUTSIDE, MQT_INSIDE  the same files, to be counted: each is sent once, or MQT_TIMES times, for
--                          what comes again is a retransmit. Without a file its port only receives
-- MQT_TIMES                (1)
-- MQT_RATE                 percent of the link (100)
-- MQT_SECONDS              at most (60)
-- MQT_SCRIPTS              where common.lua is (scripts/pktgen)

local common = dofile((os.getenv("MQT_SCRIPTS") or "scripts/pktgen") .. "/common.lua")
local rate = common.number("MQT_RATE", 100, 1, 100)
local seconds = common.number("MQT_SECONDS", 60, 1, 86400)
local times = common.number("MQT_TIMES", 1, 1, 1000000)

local ports = {}
for port, name in pairs({ [common.OUTSIDE] = "MQT_OUTSIDE", [common.INSIDE] = "MQT_INSIDE" }) do
	local path = os.getenv(name)
	if path and path ~= "" then
		local n = common.frames(path) * times
		print(string.format("port %d: %s, %d frames", port, path, n))
		pktgen.set(tostring(port), "count", n)
		pktgen.set(tostring(port), "rate", rate)
		pktgen.pcap(tostring(port), "on")
		table.insert(ports, port)
	end
end
if #ports == 0 then
	error("set MQT_OUTSIDE, MQT_INSIDE or both to the files of -s", 0)
end
table.sort(ports)
common.run(table.concat(ports, ","), seconds)
pktgen.quit()
