-- SPDX-License-Identifier: BSD-3-Clause
-- TCP segments between many clients and a broker, on connections that the tracker has not seen begin:
-- it looks each up, finds nothing, counts it as midstream and passes it. From both ports at once.
--
-- MQT_FLOWS    five-tuples (1000000)
-- MQT_SIZE     bytes of a frame, with its checksum of 4 (128)
-- MQT_RATE     percent of the link (100)
-- MQT_SECONDS  (30)
-- MQT_PORT     TCP port of the broker (1883); one that is no listener's shows what the tracker
--              does with packets that are none of its business
-- MQT_SCRIPTS  where common.lua is (scripts/pktgen)

local common = dofile((os.getenv("MQT_SCRIPTS") or "scripts/pktgen") .. "/common.lua")
local flows = common.number("MQT_FLOWS", 1000000, 1, 100000000)
local size = common.number("MQT_SIZE", 128, 64, 1518)
local rate = common.number("MQT_RATE", 100, 1, 100)
local seconds = common.number("MQT_SECONDS", 30, 1, 86400)
local broker_port = common.number("MQT_PORT", 1883, 1, 65535)

-- Address and port both move on with each packet: a prime number of ports meets every address.
local FIRST_PORT, N_PORTS = 10000, 49999
local n_ports = math.min(flows, N_PORTS)
local n_addresses = (flows + n_ports - 1) // n_ports
local CLIENT, BROKER = 10 << 24 | 1, "10.255.0.1"

local function dotted(n)
	return string.format("%d.%d.%d.%d", n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255)
end

local function one(set, port, value)
	set(port, "start", value)
	set(port, "min", value)
	set(port, "max", value)
end

-- The ends of the clients on a port, by the setters of its source or of its destination.
local function clients(port, ip, tcp)
	ip(port, "start", dotted(CLIENT))
	ip(port, "min", dotted(CLIENT))
	ip(port, "max", dotted(CLIENT + n_addresses - 1))
	ip(port, "inc", n_addresses > 1 and "0.0.0.1" or "0.0.0.0")
	tcp(port, "start", FIRST_PORT)
	tcp(port, "min", FIRST_PORT)
	tcp(port, "max", FIRST_PORT + n_ports - 1)
	tcp(port, "inc", n_ports > 1 and 1 or 0)
end

local function broker(port, ip, tcp)
	one(ip, port, BROKER)
	ip(port, "inc", "0.0.0.0")
	one(tcp, port, broker_port)
	tcp(port, "inc", 0)
end

local range = pktgen.range
for _, port in ipairs({ "0", "1" }) do
	range.ip_proto(port, "tcp")
	one(range.pkt_size, port, size)
	range.pkt_size(port, "inc", 0)
	pktgen.set(port, "rate", rate)
	pktgen.set(port, "count", 0) -- until it is stopped
end
clients("0", range.src_ip, range.src_port)
broker("0", range.dst_ip, range.dst_port)
broker("1", range.src_ip, range.src_port)
clients("1", range.dst_ip, range.dst_port)
pktgen.set_range("0,1", "on")
print(string.format("%d flows: %d addresses with %d ports each", n_addresses * n_ports, n_addresses,
	n_ports))
common.run("0,1", seconds)
pktgen.set_range("0,1", "off")
pktgen.quit()
