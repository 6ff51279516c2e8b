/** A live tail: a session of the API and its WebSocket, at this page's own origin whatever the platform calls itself. */
import * as api from "../../api/endpoints";
import { ApiError } from "../../api/client";
import type { TraceItem } from "../../api/types";

export type Connection = { state: "connecting" } | { state: "open" } | { state: "lost"; error: ApiError };

const PROTOCOL = "trace-v1";
/** Milliseconds before a lost connection is made again, at first and at most. */
const SOON = 1000;
const LATE = 15_000;

export interface Watching {
  onEvent: (item: TraceItem) => void;
  onConnection: (connection: Connection) => void;
}

/** Watches a Worker until the function that is given back is called. */
export function watch(name: string, filters: unknown[], { onEvent, onConnection }: Watching): () => void {
  let stopped = false;
  let socket: WebSocket | undefined;
  let session: string | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = SOON;

  const lost = (error: ApiError): void => {
    if (stopped) return;
    onConnection({ state: "lost", error });
    if (error.status === 401 || error.status === 403 || error.status === 404) return;
    timer = setTimeout(() => void connect(), wait);
    wait = Math.min(wait * 2, LATE);
  };
  const connect = async (): Promise<void> => {
    onConnection({ state: "connecting" });
    try {
      const made = await api.makeTail(name, filters);
      session = made.id;
      if (stopped) return void end();
      const url = new URL(new URL(made.url).pathname, location.href);
      url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
      socket = new WebSocket(url, PROTOCOL);
    } catch (error) {
      lost(error instanceof ApiError ? error : new ApiError(0, String(error)));
      return;
    }
    socket.onopen = () => {
      wait = SOON;
      onConnection({ state: "open" });
    };
    socket.onmessage = (message: MessageEvent<unknown>) => void read(message.data);
    socket.onclose = () =>
      lost(new ApiError(0, "The connection to the platform was lost. It is made again by itself."));
  };
  const read = async (data: unknown): Promise<void> => {
    const text = data instanceof Blob ? await data.text() : String(data);
    try {
      onEvent(JSON.parse(text) as TraceItem);
    } catch {
      // What is no event is nothing to show.
    }
  };
  const end = async (): Promise<void> => {
    if (session === undefined) return;
    const id = session;
    session = undefined;
    // The session ends by itself with its WebSocket.
    await api.endTail(name, id).catch(() => undefined);
  };

  void connect();
  return () => {
    stopped = true;
    clearTimeout(timer);
    if (socket === undefined) return;
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    void end();
  };
}
