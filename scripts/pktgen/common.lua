-- SPDX-License-Identifier: BSD-3-Clause
-- What pcap.lua and range.lua share: settings from the environment, a run, and its table at the end.
-- Port 0 is wired to the tracker's outside port, port 1 to its inside port.

local common = { OUTSIDE = 0, INSIDE = 1 }

-- A number from the environment; where it is none the script ends before anything is sent.
function common.number(name, default, least, most)
	local text = os.getenv(name)
	if text == nil or text == "" then
		return default
	end
	local n = math.tointeger(tonumber(text))
	if n == nil or n < least or n > most then
		error(string.format("%s: '%s' is no number from %d to %d", name, text, least, most), 0)
	end
	return n
end

-- How many frames a pcap file has.
function common.frames(path)
	local file = assert(io.open(path, "rb"))
	local size, at, n = file:seek("end"), 24, 0
	while at < size do
		file:seek("set", at + 8)
		at = at + 16 + string.unpack("<I4", file:read(4))
		n = n + 1
	end
	file:close()
	return n
end

local function total(port)
	local stats = pktgen.portStats("all", "port")[port]
	return { sent = stats.opackets, came = stats.ipackets, missed = stats.imissed + stats.rx_nombuf }
end

local function row(way, from, to, seconds)
	local share = from.sent > 0 and 100 * to.came / from.sent or 0
	print(string.format("%-20s %14d %14d %9.3f %% %14.0f %14.0f", way, from.sent, to.came, share,
		from.sent / seconds, to.came / seconds))
	if to.missed > 0 then
		print(string.format("  of what came %d were lost in the generator itself: slow down", to.missed))
	end
end

-- Sends from these ports ("0", "1", "0,1") until they are through or the time is over.
function common.run(ports, seconds)
	pktgen.screen("off")
	pktgen.clr()
	pktgen.delay(1000)
	local before, passed = { total(0), total(1) }, 0
	pktgen.start(ports)
	while passed < seconds * 10 do
		pktgen.delay(100)
		passed = passed + 1
		local sending, any = pktgen.isSending("all"), false
		for port = 0, 1 do
			any = any or sending[port] == "y"
		end
		if not any then
			break
		end
	end
	pktgen.stop(ports)
	pktgen.delay(2000) -- what is under way, and the counters of the ports
	local after = { total(0), total(1) }
	for i = 1, 2 do
		for name, n in pairs(before[i]) do
			after[i][name] = after[i][name] - n
		end
	end
	print("")
	print(string.format("%-20s %14s %14s %11s %14s %14s", "way", "sent", "came", "came/sent",
		"sent/s", "came/s"))
	row("clients to brokers", after[1], after[2], passed / 10)
	row("brokers to clients", after[2], after[1], passed / 10)
	print("Now read the tracker's side: mqtrackctl stats")
end

return common
