/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Eclipse Paho's C client on a line: obeys stdin, tells stdout what happens; see makes.py.
 * usage: client_paho URI CLIENT-ID VERSION CLEAN
 */

#include <MQTTAsync.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MQTTAsync client;
static int version;

/* One call: the library's threads speak too. */
static void
tell(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	printf("%s\n", line);
	fflush(stdout);
}

static void
on_connected(void *arg, MQTTAsync_successData *data)
{
	tell("connected %d", data->alt.connect.sessionPresent);
}

static void
on_connected5(void *arg, MQTTAsync_successData5 *data)
{
	tell("connected %d", data->alt.connect.sessionPresent);
}

static void
on_failed(void *arg, MQTTAsync_failureData *data)
{
	tell("failed %d", data ? data->code : 0);
}

static void
on_failed5(void *arg, MQTTAsync_failureData5 *data)
{
	tell("failed %d", data ? (int)data->reasonCode : 0);
}

static void
on_done(void *arg, MQTTAsync_successData *data)
{
	tell("%s", (char *)arg);
}

static void
on_done5(void *arg, MQTTAsync_successData5 *data)
{
	tell("%s", (char *)arg);
}

static int
on_message(void *arg, char *topic, int topic_len, MQTTAsync_message *m)
{
	tell("message %s %.*s %d", topic, m->payloadlen, (char *)m->payload, m->qos);
	MQTTAsync_freeMessage(&m);
	MQTTAsync_free(topic);
	return 1;
}

static void
on_lost(void *arg, char *cause)
{
	tell("lost");
}

static void
on_disconnect(void *arg, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
	tell("reason %d", (int)reason);
}

static int
connect_to(const char *uri, const char *id, int clean)
{
	MQTTAsync_connectOptions v3 = MQTTAsync_connectOptions_initializer;
	MQTTAsync_connectOptions v5 = MQTTAsync_connectOptions_initializer5;
	MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
	MQTTProperty expiry = { .identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL };
	MQTTProperties properties = MQTTProperties_initializer;
	MQTTAsync_connectOptions *options = version == 5 ? &v5 : &v3;

	create.MQTTVersion = version == 5 ? MQTTVERSION_5 : MQTTVERSION_DEFAULT;
	if (MQTTAsync_createWithOptions(
			    &client, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create))
		return 1;
	MQTTAsync_setCallbacks(client, NULL, on_lost, on_message, NULL);
	MQTTAsync_setDisconnected(client, NULL, on_disconnect);
	expiry.value.integer4 = 300;
	MQTTProperties_add(&properties, &expiry);
	options->keepAliveInterval = 30;
	if (version == 5) {
		v5.cleanstart = clean;
		v5.connectProperties = &properties;
		v5.onSuccess5 = on_connected5;
		v5.onFailure5 = on_failed5;
	} else {
		v3.MQTTVersion = version == 3 ? MQTTVERSION_3_1 : MQTTVERSION_3_1_1;
		v3.cleansession = clean;
		v3.onSuccess = on_connected;
		v3.onFailure = on_failed;
	}
	return MQTTAsync_connect(client, options);
}

static MQTTAsync_responseOptions
answer(const char *word)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;

	options.context = (void *)(size_t)word;
	if (version == 5) {
		options.onSuccess5 = on_done5;
		options.onFailure5 = on_failed5;
	} else {
		options.onSuccess = on_done;
		options.onFailure = on_failed;
	}
	return options;
}

/* Returns 0 where the word is not known. */
static int
obey(const char *line)
{
	MQTTAsync_disconnectOptions leave = MQTTAsync_disconnectOptions_initializer;
	MQTTAsync_responseOptions options;
	char topic[128], payload[128];
	int qos;

	if (sscanf(line, "subscribe %127s %d", topic, &qos) == 2) {
		options = answer("subscribed");
		return MQTTAsync_subscribe(client, topic, qos, &options) == 0;
	}
	if (sscanf(line, "publish %127s %d %127s", topic, &qos, payload) == 3) {
		options = answer("published");
		return MQTTAsync_send(client, topic, (int)strlen(payload), payload, qos, 0,
				       &options) == 0;
	}
	if (strncmp(line, "leave", 5) != 0)
		return 0;
	leave.timeout = 1000;
	leave.context = (void *)(size_t) "left";
	if (version == 5)
		leave.onSuccess5 = on_done5;
	else
		leave.onSuccess = on_done;
	return MQTTAsync_disconnect(client, &leave) == 0;
}

int
main(int argc, char **argv)
{
	char line[512];

	if (argc != 5)
		return 2;
	version = atoi(argv[3]);
	if (connect_to(argv[1], argv[2], atoi(argv[4])) != 0)
		return 1;
	while (fgets(line, sizeof(line), stdin))
		if (!obey(line))
			tell("failed");
	MQTTAsync_destroy(&client);
	return 0;
}
