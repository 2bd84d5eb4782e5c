// Binance's own SDK for Node, unchanged but for the addresses: streams trades and fetches klines, prints both.
import { Spot } from "@binance/spot";

const [restUrl, streamUrl, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const spot = new Spot({
  configurationRestAPI: { apiKey: "", basePath: restUrl },
  configurationWebsocketStreams: { wsURL: streamUrl },
});

const connection = await spot.websocketStreams.connect();
const trades = await new Promise((resolve) => {
  const taken = [];
  const stream = connection.trade({ symbol: "btcusdt" });
  stream.on("message", (data) => {
    taken.push(data);
    if (taken.length === count) resolve(taken);
  });
});
await connection.disconnect();

const info = await (await spot.restAPI.exchangeInfo({ symbol: "BTCUSDT" })).data();
const klines = await (await spot.restAPI.klines({ symbol: "BTCUSDT", interval: "1m", limit: 5 })).data();
const aggregates = await (await spot.restAPI.aggTrades({ symbol: "BTCUSDT", limit: 5 })).data();
// Its numbers may be bigints, which JSON does not know.
const plain = (_, value) => (typeof value === "bigint" ? Number(value) : value);
console.log(JSON.stringify({ trades, klines, aggregates, status: info.symbols[0].status }, plain));
process.exit(0);
