// ioredis's Cluster: pushes values to the lists of $KEYS, several requests at a time, at the cluster of the servers at
// the ports of $PORTS, and prints a line for each value that was acknowledged. Until its input ends.
//
// Whether a request whose answer was lost is done is not known: its value is not tried again by this program.

const { Cluster } = require("ioredis");

const SIDE_BY_SIDE = 8;
const nodes = process.env.PORTS.split(" ").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
// An election takes some three seconds: ioredis asks again after 100 ms, 16 times unless told.
const cluster = new Cluster(nodes, { maxRedirections: 100 });
let stops = false;

cluster.on("error", (error) => console.error(error.message));
process.stdin.on("end", () => (stops = true)).resume();

async function write(key, writer) {
  for (let number = 0; !stops; number++) {
    const value = `${key}:${writer}:${number}`;
    try {
      await cluster.rpush(key, value);
      console.log(value);
    } catch (error) {
      console.error(`${value}: ${error.message}`);
    }
  }
}

const keys = process.env.KEYS.split(" ");
const writers = Array.from({ length: SIDE_BY_SIDE }, (_, writer) => write(keys[writer % keys.length], writer));
Promise.all(writers).then(() => cluster.quit());
