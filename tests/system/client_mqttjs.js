// SPDX-License-Identifier: BSD-3-Clause
// MQTT.js on a line: obeys stdin, tells stdout what happens; see makes.py.
// usage: client_mqttjs.js URI CLIENT-ID VERSION CLEAN
const mqtt = require('mqtt');
const readline = require('readline');

const [uri, clientId, version, clean] = process.argv.slice(2);
const tell = (...words) => process.stdout.write(words.join(' ') + '\n');
const done = (word) => (error) => tell(error ? 'failed ' + error.message : word);

const client = mqtt.connect(uri.replace('tcp:', 'mqtt:') + (uri.startsWith('ws') ? '/mqtt' : ''), {
  clientId,
  clean: clean === '1',
  protocolVersion: Number(version),
  protocolId: version === '3' ? 'MQIsdp' : 'MQTT',
  reconnectPeriod: 0,
  keepalive: 30,
  properties: version === '5' ? { sessionExpiryInterval: 300 } : undefined,
});
let leaving = false;
client.on('connect', (packet) => tell('connected', Number(packet.sessionPresent)));
client.on('message', (topic, payload, packet) => tell('message', topic, payload, packet.qos));
client.on('disconnect', (packet) => tell('reason', packet.reasonCode));
client.on('error', (error) => tell('failed', error.message));
client.on('close', () => tell(leaving ? 'left' : 'lost'));
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, topic, qos, payload] = line.split(' ');
  if (word === 'subscribe') client.subscribe(topic, { qos: Number(qos) }, done('subscribed'));
  if (word === 'publish') client.publish(topic, payload, { qos: Number(qos) }, done('published'));
  if (word === 'leave') {
    leaving = true;
    client.end();
  }
}).on('close', () => process.exit(0));
