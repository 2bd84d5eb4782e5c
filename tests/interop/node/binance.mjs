// The npm package "binance", unchanged but for the addresses: streams trades and fetches klines, prints both.
import { MainClient, WebsocketClient } from "binance";

const [restUrl, streamUrl, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const silent = { trace() {}, info() {}, error: console.error };

const trades = await new Promise((resolve, reject) => {
  const taken = [];
  const client = new WebsocketClient({ wsUrl: streamUrl }, silent);
  client.on("message", (message) => {
    const data = message.data ?? message;
    if (data.e === "trade") taken.push(data);
    if (taken.filter((trade) => trade.s === "BTCUSDT").length === count) {
      client.closeAll(true);
      resolve(taken);
    }
  });
  client.on("exception", reject);
  client.subscribe(["btcusdt@trade", "ethusdt@trade"], "main").catch(reject);
});

const rest = new MainClient({ baseUrl: restUrl });
const info = await rest.getExchangeInfo({ symbol: "BTCUSDT" });
const klines = await rest.getKlines({ symbol: "BTCUSDT", interval: "1m", limit: 5 });
const aggregates = await rest.getAggregateTrades({ symbol: "BTCUSDT", limit: 5 });
console.log(JSON.stringify({ trades, klines, aggregates, status: info.symbols[0].status }));
process.exit(0);
