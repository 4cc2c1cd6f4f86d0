/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of mqtrack-gen. Each option is checked for itself as it is read, then all of
 * them together; what was not said gets its default last, for some depend on others.
 * Synchronisation: none, one thread at start.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_ether.h>

#define PORTS_AN_ADDRESS 64512u /* 1024 to 65535 */

static const char *const kind_names[] = { "lives", "chatter", "resume", "syn", "garbage" };

_Static_assert(RTE_DIM(kind_names) == GEN_N_KINDS, "a name for each");

const char *
gen_kind_name(enum gen_kind kind)
{
	return kind_names[kind];
}

enum {
	O_PCAP = 256,
	O_MERGED,
	O_PORTS,
	O_CLIENTS,
	O_FLOWS,
	O_PARALLEL,
	O_MESSAGES,
	O_MQTT,
	O_CLIENTID,
	O_FIRST,
	O_QOS,
	O_PAYLOAD,
	O_KEEPALIVE,
	O_EXPIRY,
	O_SEED,
	O_IP,
	O_CLIENT,
	O_ADDRESSES,
	O_BROKER,
	O_BROKERS,
	O_PORT,
	O_CLIENT_MAC,
	O_BROKER_MAC,
	O_VLAN,
	O_RATE,
	O_FLOW_RATE,
	O_SECONDS,
	O_TIMEOUT,
	O_TURN,
	O_PAUSE,
	O_JSON,
	O_ESTABLISHED,
	O_END,
};

static const struct option longs[] = {
	{ "pcap", no_argument, NULL, O_PCAP },
	{ "merged", no_argument, NULL, O_MERGED },
	{ "ports", no_argument, NULL, O_PORTS },
	{ "clients", required_argument, NULL, O_CLIENTS },
	{ "flows", required_argument, NULL, O_FLOWS },
	{ "parallel", required_argument, NULL, O_PARALLEL },
	{ "messages", required_argument, NULL, O_MESSAGES },
	{ "mqtt", required_argument, NULL, O_MQTT },
	{ "clientid-format", required_argument, NULL, O_CLIENTID },
	{ "first", required_argument, NULL, O_FIRST },
	{ "qos", required_argument, NULL, O_QOS },
	{ "payload", required_argument, NULL, O_PAYLOAD },
	{ "keepalive", required_argument, NULL, O_KEEPALIVE },
	{ "expiry", required_argument, NULL, O_EXPIRY },
	{ "seed", required_argument, NULL, O_SEED },
	{ "ip", required_argument, NULL, O_IP },
	{ "client", required_argument, NULL, O_CLIENT },
	{ "addresses", required_argument, NULL, O_ADDRESSES },
	{ "broker", required_argument, NULL, O_BROKER },
	{ "brokers", required_argument, NULL, O_BROKERS },
	{ "port", required_argument, NULL, O_PORT },
	{ "client-mac", required_argument, NULL, O_CLIENT_MAC },
	{ "broker-mac", required_argument, NULL, O_BROKER_MAC },
	{ "vlan", required_argument, NULL, O_VLAN },
	{ "rate", required_argument, NULL, O_RATE },
	{ "flow-rate", required_argument, NULL, O_FLOW_RATE },
	{ "seconds", required_argument, NULL, O_SECONDS },
	{ "timeout", required_argument, NULL, O_TIMEOUT },
	{ "turn", required_argument, NULL, O_TURN },
	{ "pause", required_argument, NULL, O_PAUSE },
	{ "json", no_argument, NULL, O_JSON },
	{ "established", no_argument, NULL, O_ESTABLISHED },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* Of the options with a number: what it may be. */
static const struct {
	int opt;
	uint64_t min, max;
} numbers[] = {
	{ O_CLIENTS, 1, 100000000 },
	{ O_FLOWS, 1, 1000000000000 },
	{ O_PARALLEL, 1, 100000000 },
	{ O_MESSAGES, 0, 1000000000 },
	{ O_FIRST, 0, UINT32_MAX },
	{ O_QOS, 0, 1 },
	{ O_PAYLOAD, 0, GEN_PAYLOAD_MAX },
	{ O_KEEPALIVE, 0, UINT16_MAX },
	{ O_EXPIRY, 0, UINT32_MAX },
	{ O_SEED, 0, UINT64_MAX },
	{ O_ADDRESSES, 1, 16000000 },
	{ O_BROKERS, 1, 65536 },
	{ O_PORT, 1, UINT16_MAX },
	{ O_VLAN, 1, 4094 },
	{ O_RATE, 1, 1000000000 },
	{ O_FLOW_RATE, 1, 1000000000 },
	{ O_SECONDS, 1, 1000000 },
	{ O_TIMEOUT, 10, 60000 },
	{ O_TURN, 1, 1024 },
	{ O_PAUSE, 0, 100000000 },
};

/* What is being read. */
struct parse {
	struct gen_options *o;
	uint64_t given; /* bit opt - O_PCAP */
	unsigned n_outputs;
	char *err;
	size_t err_size;
};

_Static_assert(O_END - O_PCAP <= 64, "a bit for each");

static bool
given(const struct parse *p, int opt)
{
	return p->given >> (opt - O_PCAP) & 1;
}

__attribute__((format(printf, 2, 3))) static int
wrong(struct parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->err, p->err_size, fmt, ap);
	va_end(ap);
	return -1;
}

static const char *
long_name(int opt)
{
	for (const struct option *l = longs; l->name; l++)
		if (l->val == opt)
			return l->name;
	return "?";
}

/* @return 0; 1: this option has no number; -1. */
static int
read_number(struct parse *p, int opt, const char *text, uint64_t *out)
{
	for (size_t i = 0; i < RTE_DIM(numbers); i++) {
		char *end;

		if (numbers[i].opt != opt)
			continue;
		errno = 0;
		*out = strtoull(text, &end, 10);
		if (errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' &&
				*out >= numbers[i].min && *out <= numbers[i].max)
			return 0;
		return wrong(p, "--%s: '%s' is no number from %llu to %llu", long_name(opt), text,
				(unsigned long long)numbers[i].min,
				(unsigned long long)numbers[i].max);
	}
	return 1;
}

static int
set_number(struct parse *p, int opt, uint64_t n)
{
	struct gen_options *o = p->o;

	switch (opt) {
	case O_CLIENTS:
		o->clients = (uint32_t)n;
		break;
	case O_FLOWS:
		o->flows = n;
		break;
	case O_PARALLEL:
		o->parallel = (uint32_t)n;
		break;
	case O_MESSAGES:
		o->messages = n;
		break;
	case O_FIRST:
		o->first = (uint32_t)n;
		break;
	case O_QOS:
		o->qos = (uint8_t)n;
		break;
	case O_PAYLOAD:
		o->payload = (uint16_t)n;
		break;
	case O_KEEPALIVE:
		o->keepalive_sec = (uint16_t)n;
		break;
	case O_EXPIRY:
		o->expiry_sec = (uint32_t)n;
		break;
	case O_SEED:
		o->seed = n;
		break;
	case O_ADDRESSES:
		o->addresses = (uint32_t)n;
		break;
	case O_BROKERS:
		o->brokers = (uint32_t)n;
		break;
	case O_PORT:
		o->broker[0].port = o->broker[1].port = (uint16_t)n;
		break;
	case O_VLAN:
		if (o->n_vlans == GEN_MAX_VLANS)
			return wrong(p, "--vlan: twice at most");
		o->vlan[o->n_vlans++] = (uint16_t)n;
		break;
	case O_RATE:
		o->rate = n;
		break;
	case O_FLOW_RATE:
		o->flow_rate = n;
		break;
	case O_SECONDS:
		o->seconds = (uint32_t)n;
		break;
	case O_TIMEOUT:
		o->timeout_ms = (uint32_t)n;
		break;
	case O_TURN:
		o->turn = (uint32_t)n;
		break;
	case O_PAUSE:
		o->pause = (uint32_t)n;
		break;
	}
	return 0;
}

static int
set_mqtt(struct parse *p, const char *text)
{
	static const struct {
		const char *name;
		uint8_t version;
	} names[] = { { "3.1", 3 }, { "3.1.1", 4 }, { "5.0", 5 } };
	struct gen_options *o = p->o;

	if (strcmp(text, "mix") == 0) {
		memcpy(o->versions, "\3\4\5", 3);
		o->n_versions = 3;
		return 0;
	}
	for (size_t i = 0; i < RTE_DIM(names); i++)
		if (strcmp(text, names[i].name) == 0) {
			o->versions[0] = names[i].version;
			o->n_versions = 1;
			return 0;
		}
	return wrong(p, "--mqtt: '%s' is none of 3.1, 3.1.1, 5.0, mix", text);
}

static int
set_ip(struct parse *p, const char *text)
{
	struct gen_options *o = p->o;

	o->n_ip_versions = 1;
	if (strcmp(text, "mix") == 0) {
		memcpy(o->ip_versions, "\4\6", 2);
		o->n_ip_versions = 2;
	} else if (strcmp(text, "4") == 0 || strcmp(text, "6") == 0) {
		o->ip_versions[0] = (uint8_t)(text[0] - '0');
	} else {
		return wrong(p, "--ip: '%s' is none of 4, 6, mix", text);
	}
	return 0;
}

static int
set_address(struct parse *p, int opt, const char *text)
{
	struct mqt_endpoint ep, *to = opt == O_CLIENT ? p->o->client : p->o->broker;

	if (mqt_endpoint_parse_ip(text, &ep) != 0)
		return wrong(p, "--%s: '%s' is no address", long_name(opt), text);
	to += ep.version == 6;
	ep.port = to->port;
	*to = ep;
	return 0;
}

static int
set_mac(struct parse *p, int opt, const char *text)
{
	struct rte_ether_addr mac;

	if (rte_ether_unformat_addr(text, &mac) != 0)
		return wrong(p, "--%s: '%s' is no MAC address", long_name(opt), text);
	memcpy(p->o->mac[opt == O_CLIENT_MAC ? GEN_CLIENT : GEN_BROKER], mac.addr_bytes, 6);
	return 0;
}

static int
set_clientid(struct parse *p, const char *text)
{
	const char *why = gen_clientid_parse(text, &p->o->clientid);

	return why ? wrong(p, "--clientid-format: '%s' %s", text, why) : 0;
}

static int
set_option(struct parse *p, int opt, const char *text)
{
	uint64_t n = 0;
	int ret;

	p->given |= UINT64_C(1) << (opt - O_PCAP);
	ret = read_number(p, opt, text, &n);
	if (ret <= 0)
		return ret ? ret : set_number(p, opt, n);
	switch (opt) {
	case O_PCAP:
	case O_MERGED:
	case O_PORTS:
		p->o->output = opt == O_PCAP ? GEN_PCAP : opt == O_MERGED ? GEN_MERGED : GEN_PORTS;
		p->n_outputs++;
		return 0;
	case O_MQTT:
		return set_mqtt(p, text);
	case O_IP:
		return set_ip(p, text);
	case O_CLIENT:
	case O_BROKER:
		return set_address(p, opt, text);
	case O_CLIENT_MAC:
	case O_BROKER_MAC:
		return set_mac(p, opt, text);
	case O_CLIENTID:
		return set_clientid(p, text);
	case O_ESTABLISHED:
		p->o->established = true;
		return 0;
	default:
		p->o->json = true;
		return 0;
	}
}

/* KIND and the files or devices. */
static int
set_operands(struct parse *p, int argc, char **argv)
{
	struct gen_options *o = p->o;
	int wanted, kind = 0;

	if (argc == 0)
		return wrong(p, "KIND is missing: lives, chatter, resume, syn or garbage");
	while (kind < GEN_N_KINDS && strcmp(argv[0], kind_names[kind]) != 0)
		kind++;
	if (kind == GEN_N_KINDS)
		return wrong(p, "'%s' is none of lives, chatter, resume, syn, garbage", argv[0]);
	o->kind = (enum gen_kind)kind;
	if (p->n_outputs != 1)
		return wrong(p, "one of --pcap, --merged, --ports is needed");
	wanted = o->output == GEN_MERGED ? 1 : 2;
	if (argc - 1 != wanted)
		return wrong(p, "%s needs %s, not %d",
				o->output == GEN_PCAP                    ? "--pcap"
						: o->output == GEN_PORTS ? "--ports"
									 : "--merged",
				wanted == 1 ? "one file"
						: o->output == GEN_PCAP
						? "two files, OUTSIDE INSIDE"
						: "two devices, OUTSIDE INSIDE",
				argc - 1);
	o->out[0] = argv[1];
	o->out[1] = wanted == 2 ? argv[2] : NULL;
	return 0;
}

static void
set_first_defaults(struct gen_options *o)
{
	*o = (struct gen_options){
		.clients = 1000,
		.addresses = 1000,
		.brokers = 2,
		.payload = 64,
		.keepalive_sec = 3600,
		.expiry_sec = 300,
		.seed = 1,
		.ip_versions = { 4 },
		.n_ip_versions = 1,
		.mac = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } },
		.timeout_ms = 1000,
		.pause = 20000,
		.clientid = { .prefix = "dev-",
				.number = true,
				.zeros = true,
				.width = 8,
				.conversion = 'u' },
	};
	mqt_endpoint_parse_ip("10.0.0.1", &o->client[0]);
	mqt_endpoint_parse_ip("2001:db8:0:1::1", &o->client[1]);
	mqt_endpoint_parse_ip("10.255.0.1", &o->broker[0]);
	mqt_endpoint_parse_ip("2001:db8:0:ff::1", &o->broker[1]);
	o->broker[0].port = o->broker[1].port = 1883;
}

/* Defaults that depend on what else was said. */
static void
set_last_defaults(struct parse *p)
{
	struct gen_options *o = p->o;
	bool endless = o->output == GEN_PORTS && o->seconds > 0;

	if (o->n_versions == 0)
		o->versions[o->n_versions++] = o->kind == GEN_RESUME ? 5 : 4;
	if (!given(p, O_QOS))
		o->qos = o->kind == GEN_CHATTER ? 0 : 1;
	if (!given(p, O_MESSAGES))
		o->messages = o->kind == GEN_CHATTER && endless ? GEN_NO_LIMIT : 1;
	if (!given(p, O_PARALLEL))
		o->parallel = RTE_MIN(o->clients, 1000u);
	if (!given(p, O_FLOWS))
		o->flows = o->kind == GEN_CHATTER       ? o->clients
				: endless               ? GEN_NO_LIMIT
				: o->kind == GEN_RESUME ? 2 * (uint64_t)o->clients
							: o->clients;
	if (o->rate == 0 && o->output != GEN_PORTS)
		o->rate = 100000;
	if (o->output == GEN_PORTS)
		o->pause = 0;
}

/* Whether the last address of a range is still one of the same version. */
static bool
range_ok(const struct mqt_endpoint *first, uint32_t n)
{
	const uint8_t *low = first->ip + (first->version == 4 ? 0 : 12);
	uint32_t from = (uint32_t)low[0] << 24 | (uint32_t)low[1] << 16 | (uint32_t)low[2] << 8 |
			low[3];

	return n - 1 <= UINT32_MAX - from;
}

static int
check(struct parse *p)
{
	struct gen_options *o = p->o;
	bool at_once = o->kind == GEN_CHATTER || o->kind == GEN_RESUME;

	if (o->seconds && o->output != GEN_PORTS)
		return wrong(p, "--seconds is for --ports; files are as long as --flows says");
	if (o->turn && o->output != GEN_PCAP)
		return wrong(p, "--turn is for --pcap");
	if (given(p, O_TIMEOUT) && o->output != GEN_PORTS)
		return wrong(p, "--timeout is for --ports");
	if (given(p, O_PAUSE) && o->output == GEN_PORTS)
		return wrong(p, "--pause is for files: on ports a client waits for its CONNACK");
	if (o->established && (o->kind != GEN_CHATTER || o->output == GEN_PORTS))
		return wrong(p, "--established is for chatter in files");
	if (o->kind == GEN_CHATTER && o->flows != o->clients)
		return wrong(p, "--flows: chatter has one connection a client");
	if (o->parallel > o->clients)
		return wrong(p, "--parallel: more than --clients, which is %u", o->clients);
	if (o->clients > 1 && !o->clientid.number)
		return wrong(p, "--clientid-format: without a number, for %u clients", o->clients);
	if ((at_once ? o->clients : o->parallel) > (uint64_t)o->addresses * PORTS_AN_ADDRESS)
		return wrong(p, "--addresses: %u do for %llu connections only", o->addresses,
				(unsigned long long)o->addresses * PORTS_AN_ADDRESS);
	for (unsigned i = 0; i < 2; i++)
		if (!range_ok(&o->client[i], o->addresses) || !range_ok(&o->broker[i], o->brokers))
			return wrong(p,
					"the addresses of clients or brokers pass the end of "
					"what there is");
	return 0;
}

int
gen_options_parse(int argc, char **argv, struct gen_options *o, char *err, size_t err_size)
{
	struct parse p = { .o = o, .err = err, .err_size = err_size };
	int opt;

	set_first_defaults(o);
	opterr = 0;
	optind = 0;
	while ((opt = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (opt == 'h')
			return 1;
		if (opt == ':')
			return wrong(&p, "%s needs a value", argv[optind - 1]);
		if (opt == '?')
			return wrong(&p, "unknown option '%s'", argv[optind - 1]);
		if (set_option(&p, opt, optarg ? optarg : "") != 0)
			return -1;
	}
	if (set_operands(&p, argc - optind, argv + optind) != 0)
		return -1;
	set_last_defaults(&p);
	return check(&p);
}
