/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GEN_OPTIONS_H
#define GEN_OPTIONS_H

#include "mqtrack/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the command line asks for, checked and complete.
 */

enum gen_kind {
	GEN_LIVES,   /* whole connections, from SYN to the last ACK */
	GEN_CHATTER, /* connections that are made, publish and stay */
	GEN_RESUME,  /* the same client ids again and again, clean start 0 */
	GEN_SYN,     /* SYNs that nobody answers */
	GEN_GARBAGE, /* what is not MQTT, or no longer */
	GEN_N_KINDS,
};

/** "lives", ... Static storage. */
const char *gen_kind_name(enum gen_kind kind);

enum gen_output {
	GEN_PCAP,   /* a file for each port */
	GEN_MERGED, /* one file for both */
	GEN_PORTS,  /* two DPDK ports */
};

/** The two ports of a tracker, and the two ends of a connection behind them. */
enum gen_side {
	GEN_CLIENT, /* outside */
	GEN_BROKER, /* inside */
};

#define GEN_MAX_VLANS    2
#define GEN_CLIENTID_MAX 128
#define GEN_PAYLOAD_MAX  1200
#define GEN_NO_LIMIT     UINT64_MAX

/** "dev-%08u", taken apart. */
struct gen_clientid {
	char prefix[GEN_CLIENTID_MAX];
	char suffix[GEN_CLIENTID_MAX];
	uint8_t width;
	bool number; /* false: nothing but the prefix */
	bool zeros;
	char conversion; /* 'u', 'x', 'X' */
};

struct gen_options {
	enum gen_kind kind;
	enum gen_output output;
	const char *out[2]; /* files or devices; [1] is NULL for GEN_MERGED */
	bool json;
	/* how much */
	uint32_t clients;  /* client ids */
	uint64_t flows;    /* connections (or SYNs) in all; GEN_NO_LIMIT: until the time is over */
	uint32_t parallel; /* of these at once; of chatter and resume: not yet settled */
	uint64_t messages; /* a connection; GEN_NO_LIMIT: until the time is over */
	/* what they say */
	struct gen_clientid clientid;
	uint32_t first; /* number of the first client */
	uint8_t versions[3];
	uint8_t n_versions;
	uint8_t qos;
	uint16_t payload; /* bytes of a message */
	uint16_t keepalive_sec;
	uint32_t expiry_sec; /* 5.0, resume only */
	uint64_t seed;
	/* between whom */
	uint8_t ip_versions[2];
	uint8_t n_ip_versions;
	struct mqt_endpoint client[2]; /* IPv4, IPv6: the first of `addresses` */
	struct mqt_endpoint broker[2]; /* the first of `brokers`, with the port */
	uint32_t addresses;
	uint32_t brokers;
	uint8_t mac[2][6]; /* by enum gen_side */
	uint16_t vlan[GEN_MAX_VLANS];
	uint8_t n_vlans;
	/* when */
	uint64_t rate;       /* packets a second; 0: as fast as it goes */
	uint64_t flow_rate;  /* connections begun a second; 0: no limit */
	uint32_t seconds;    /* ports; 0: until all flows are through */
	uint32_t timeout_ms; /* ports: after so long a packet is sent again */
	uint32_t turn;       /* pcap: frames a port and turn; 0: not laid out */
	bool established;    /* pcap, chatter: nothing but messages and their acknowledgements */
	uint32_t pause;      /* pcap: packets between a CONNACK and what its client says next */
};

/**
 * Reads the command line.
 * @param argv argv[0] is the program's name; reordered by getopt. The options keep pointers into it.
 * @param err set where it is wrong: one line without its end.
 * @return 0; 1: help was asked for; -1: wrong.
 */
int gen_options_parse(
		int argc, char **argv, struct gen_options *options, char *err, size_t err_size);

/** Reads a format. @return NULL, or what is wrong with it: "is empty". Static storage. */
const char *gen_clientid_parse(const char *text, struct gen_clientid *clientid);

/** Writes a client id. @return its length. @param out room for 2 * GEN_CLIENTID_MAX + 32. */
size_t gen_clientid_write(const struct gen_clientid *clientid, uint64_t number, char *out);

extern const char gen_usage[];

#endif
