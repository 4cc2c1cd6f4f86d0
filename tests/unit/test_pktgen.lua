-- SPDX-License-Identifier: BSD-3-Clause
-- The scripts for Pktgen-DPDK with a Pktgen that only writes down what it is told: which functions they
-- call, what they set, and that they end. Its functions are those of Pktgen 23.03 and 23.06.
-- usage: lua test_pktgen.lua SCRIPTS-DIRECTORY

local scripts = arg[1]
local failed, environment, calls, counters = 0, {}, {}, {}

local function check(what, truth)
	print((truth and "ok: " or "FAIL: ") .. what)
	failed = failed + (truth and 0 or 1)
end

local function record(name, answer)
	return function(...)
		table.insert(calls, name .. "(" .. table.concat({ ... }, ",") .. ")")
		return answer and answer(...)
	end
end

local function called(call)
	for _, one in ipairs(calls) do
		if one == call then
			return true
		end
	end
	return false
end

-- Ports that have sent 100 frames each a time they are asked, and lose every tenth.
local function port_stats()
	counters.sent = counters.sent + 100
	local one = { opackets = counters.sent, ipackets = counters.sent * 9 // 10, imissed = 7,
		rx_nombuf = 0 }
	return { [0] = one, [1] = one, n = 2 }
end

local function fake()
	local pktgen = { range = {} }
	for _, name in ipairs({ "clr", "delay", "pcap", "quit", "screen", "set", "set_range", "start",
		"stop" }) do
		pktgen[name] = record(name)
	end
	for _, name in ipairs({ "dst_ip", "dst_port", "ip_proto", "pkt_size", "src_ip", "src_port" }) do
		pktgen.range[name] = record("range." .. name)
	end
	pktgen.portStats = record("portStats", port_stats)
	pktgen.isSending = record("isSending", function()
		counters.asked = counters.asked + 1
		local sends = counters.asked < counters.until_asked and "y" or "n"
		return { [0] = sends, [1] = sends, n = 2 }
	end)
	return pktgen
end

-- Runs a script. Returns whether it came to its end, or what it said.
local function run(name, settings, until_asked)
	calls, counters = {}, { sent = 0, asked = 0, until_asked = until_asked or 3 }
	environment = settings
	environment.MQT_SCRIPTS = scripts
	pktgen = fake()
	return pcall(dofile, scripts .. "/" .. name)
end

os.getenv = function(name) -- luacheck: ignore
	return environment[name]
end

local path = os.tmpname()
local file = assert(io.open(path, "wb"))
file:write(string.pack("<I4I2I2I4I4I4I4", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
for length = 60, 66 do
	file:write(string.pack("<I4I4I4I4", 0, 0, length, length), string.rep("x", length))
end
file:close()

check("pcap.lua ends", run("pcap.lua", { MQT_OUTSIDE = path }))
check("sends each frame once", called("set(0,count,7)"))
check("from the outside port alone", called("start(0)") and not called("pcap(1,on)"))
check("and quits", calls[#calls] == "quit()")
check("pcap.lua with both", run("pcap.lua", { MQT_OUTSIDE = path, MQT_INSIDE = path, MQT_TIMES = "3",
	MQT_RATE = "50" }))
check("three times", called("set(0,count,21)") and called("set(1,count,21)"))
check("at half the rate", called("set(1,rate,50)"))
check("from both ports at once", called("start(0,1)") and called("stop(0,1)"))
local ok, why = run("pcap.lua", {})
check("without a file it says so: " .. tostring(why), not ok and why:find("MQT_OUTSIDE") and #calls == 0)
ok, why = run("pcap.lua", { MQT_OUTSIDE = path, MQT_RATE = "101" })
check("a wrong number is named: " .. tostring(why), not ok and why:find("MQT_RATE: '101'"))
check("it stops when the time is over", run("pcap.lua", { MQT_OUTSIDE = path, MQT_SECONDS = "2" }, 1000))
check("after twenty looks", counters.asked == 20)

check("range.lua ends", run("range.lua", { MQT_FLOWS = "100000" }))
check("TCP", called("range.ip_proto(0,tcp)") and called("range.ip_proto(1,tcp)"))
check("three addresses", called("range.src_ip(0,max,10.0.0.3)") and called("range.dst_ip(1,max,10.0.0.3)"))
check("with 49999 ports each", called("range.src_port(0,min,10000)") and
	called("range.src_port(0,max,59998)") and called("range.dst_port(1,max,59998)"))
check("of one broker", called("range.dst_port(0,max,1883)") and called("range.src_port(1,max,1883)") and
	called("range.dst_ip(0,inc,0.0.0.0)"))
check("on both ports", called("set_range(0,1,on)") and called("start(0,1)"))
check("range.lua with one flow", run("range.lua", { MQT_FLOWS = "1", MQT_PORT = "80" }))
check("nothing moves", called("range.src_port(0,inc,0)") and called("range.src_ip(0,inc,0.0.0.0)"))
check("to another port", called("range.dst_port(0,start,80)"))
check("a million flows", run("range.lua", {}))
check("are 21 addresses", called("range.src_ip(0,max,10.0.0.21)"))
os.remove(path)
os.exit(failed == 0 and 0 or 1)
