/**
 * A WebSocket server: every message comes back, and `time` is answered with the time.
 *
 * Try it in a browser's console: ws = new WebSocket("ws://localhost:8787"); ws.onmessage = (e) => console.log(e.data); ws.send("hi")
 *
 * https://developers.cloudflare.com/workers/runtime-apis/websockets/
 */

/** The answer to a message. */
export function answer(message: string, now: Date): string {
	return message === "time" ? now.toISOString() : `you said: ${message}`;
}

export default {
	async fetch(request): Promise<Response> {
		if (request.headers.get("Upgrade")?.toLowerCase() !== "websocket") {
			return new Response("This is a WebSocket server: connect with a WebSocket.\n", {
				status: 426,
				headers: { Upgrade: "websocket" },
			});
		}

		// Two ends of one connection: one goes to the client, the other stays here.
		const { 0: client, 1: server } = new WebSocketPair();
		server.accept();
		server.addEventListener("message", (event) => {
			if (typeof event.data === "string") server.send(answer(event.data, new Date()));
		});
		server.addEventListener("close", () => server.close());
		return new Response(null, { status: 101, webSocket: client });
	},
} satisfies ExportedHandler<Env>;
