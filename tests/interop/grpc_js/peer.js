// A program that knows only candles.proto, by @grpc/grpc-js; nothing of candled.
// usage: node peer.js PROTOS DESCRIPTORS ADDRESS [CA_FILE [CERTIFICATE_FILE KEY_FILE]]   prints the answers as JSON
// DESCRIPTORS: the descriptor set of gRPC's health and reflection services.
"use strict";
const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [protos, descriptors, address, ...files] = process.argv.slice(2);
const options = { keepCase: true, longs: Number, defaults: true, oneofs: true };
const { candled } = grpc.loadPackageDefinition(
  loader.loadSync("candled/v1/candles.proto", { ...options, includeDirs: [protos] }),
);
const standard = grpc.loadPackageDefinition(
  loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), options),
);
const [ca, certificate, key] = files.map((file) => fs.readFileSync(file));
const credentials = ca ? grpc.credentials.createSsl(ca, key, certificate) : grpc.credentials.createInsecure();

const client = new candled.v1.CandleService(address, credentials);
const health = new standard.grpc.health.v1.Health(address, credentials);
const reflection = new standard.grpc.reflection.v1alpha.ServerReflection(address, credentials);

const call = (stub, method, request) =>
  new Promise((resolve, reject) => stub[method](request, (error, answer) => (error ? reject(error) : resolve(answer))));

const bar = (message) => [
  message.symbol,
  message.open_time.seconds,
  message.high,
  message.trade_count,
  message._first_trade_id ? message.first_trade_id : null,
  message.closed,
  message.complete,
];

function streamed(count) {
  return new Promise((resolve, reject) => {
    const received = [];
    const stream = client.StreamBars({ symbols: ["BTCUSDT"], start_time: { seconds: 0 }, closed_only: true });
    stream.on("error", (error) => (received.length < count ? reject(error) : resolve(received)));
    stream.on("data", (message) => {
      received.push(bar(message.bar));
      if (received.length === count) stream.cancel();
    });
  });
}

function services() {
  return new Promise((resolve, reject) => {
    const stream = reflection.ServerReflectionInfo();
    stream.on("error", reject);
    stream.on("data", (answer) => {
      resolve(answer.list_services_response.service.map((service) => service.name).sort());
      stream.end();
    });
    stream.write({ list_services: "" });
  });
}

(async () => {
  const answers = {
    stream: await streamed(3),
    bars: (await call(client, "GetBars", { symbol: "BTCUSDT" })).bars.map(bar),
    symbols: (await call(client, "ListSymbols", {})).symbols.map((symbol) => symbol.symbol),
    version: (await call(client, "GetStatus", {})).version,
    health: { SERVING: 1 }[(await call(health, "Check", {})).status] ?? (await call(health, "Check", {})).status,
    services: await services(),
  };
  console.log(JSON.stringify(answers));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
