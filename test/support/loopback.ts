/** A bare HTTP server on loopback for answers that no Kimi service would give. */
import { createServer, type RequestListener } from "node:http";
import type { Server, Socket } from "node:net";

export interface Loopback {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts `answer` on a free port of 127.0.0.1. */
export async function startLoopback(answer: RequestListener): Promise<Loopback> {
  const server = createServer(answer);
  const close = closing(server);
  return { url: `http://127.0.0.1:${await listen(server)}`, close };
}

/** What ends `server` and the connections it has by then; to be called before it listens. */
export function closing(server: Server): () => Promise<void> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
}

/** Listens on a free port of 127.0.0.1, and says which. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}
