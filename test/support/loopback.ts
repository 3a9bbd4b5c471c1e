/** A bare HTTP server on loopback for answers that no Kimi service would give. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { Socket } from "node:net";

export interface Loopback {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts `answer` on a free port of 127.0.0.1. */
export async function startLoopback(answer: RequestListener): Promise<Loopback> {
  const server = createServer(answer);
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => sockets.delete(socket));
  });
  const url = await listen(server);
  return {
    url,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return `http://127.0.0.1:${address.port}`;
}
