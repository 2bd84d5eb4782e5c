// The @grpc/grpc-js side of the fan-out benchmark. usage: node server.js STREAMS TICKS TICKS_PER_SECOND
// It keeps the pace as servers.py says.
"use strict";
const grpc = require("@grpc/grpc-js");

const [streams, ticks, rate] = process.argv.slice(2).map(Number);
const shared = Buffer.from(process.env.FANOUT_SHARED, "hex");
const bytes = (value) => value;
const calls = [];

function varint(value) {
  const out = [];
  while (value >= 128) {
    out.push((value % 128) + 128);
    value = Math.floor(value / 128);
  }
  out.push(value);
  return out;
}

function message(sequence) {
  const now = performance.timeOrigin + performance.now();
  const seconds = Math.floor(now / 1000);
  const nanos = Math.floor((now - seconds * 1000) * 1e6);
  const time = [0x08, ...varint(seconds), 0x10, ...varint(nanos)];
  return Buffer.concat([shared, Buffer.from([0x18, ...varint(sequence), 0x2a, time.length, ...time])]);
}

const server = new grpc.Server({ "grpc.max_concurrent_streams": 1000 });
server.addService(
  {
    StreamBars: {
      path: "/candled.v1.CandleService/StreamBars",
      requestStream: false,
      responseStream: true,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  },
  { StreamBars: (call) => calls.push(call) },
);

const onTheirWayMax = 8;
let arrived = 0;
let received = false;
let heard = () => {};
process.stdin.on("data", (data) => {
  for (const byte of data) {
    if (byte === 0x2e) arrived++;
    else received = true;
  }
  heard();
});

const hearing = () => new Promise((resolve) => (heard = resolve));

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), async (error, port) => {
  if (error) throw error;
  console.log(JSON.stringify({ port }));
  while (calls.length < streams) await sleep(10);
  await sleep(500);
  const before = process.cpuUsage();
  const start = performance.now();
  for (let tick = 0; tick < ticks; tick++) {
    const wait = rate ? start + (tick * 1000) / rate - performance.now() : 0;
    if (wait > 0) await sleep(wait);
    while (!rate && tick - arrived >= onTheirWayMax) await hearing();
    const data = message(tick + 1);
    for (const call of calls) call.write(data);
  }
  while (!received) await hearing();
  const used = process.cpuUsage(before);
  console.log(JSON.stringify({ cpu_seconds: (used.user + used.system) / 1e6 }));
  server.forceShutdown();
  process.exit(0);
});
