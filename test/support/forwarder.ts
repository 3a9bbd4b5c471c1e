/** A port on loopback that leads to another one, and can be closed and opened again, as a server that is restarted. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { listen } from "./loopback.ts";

export interface Forwarder {
  readonly port: number;
  /**
   * Nobody listens any more, and what was connected is cut off: at once in the direction of the target, in the other
   * one after `answered` has resolved.
   */
  close(answered?: () => Promise<unknown>): Promise<void>;
  /** Listens again on the same port. */
  open(): Promise<void>;
}

export async function startForwarder(target: number): Promise<Forwarder> {
  const sockets = new Set<Socket>();
  const clients = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy()).once("close", () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((client) => {
    const upstream = keep(connect(target, "127.0.0.1"));
    keep(client).pipe(upstream).pipe(client);
    clients.add(client);
    client.once("close", () => {
      clients.delete(client);
      upstream.destroy();
    });
    upstream.once("close", () => client.destroy());
  });
  const port = await listen(server);
  return {
    port,
    async open() {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    async close(answered) {
      const closed = once(server, "close");
      server.close();
      for (const socket of clients) socket.unpipe();
      await answered?.();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
