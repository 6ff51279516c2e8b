import { beforeEach, describe, expect, it, vi } from "vitest";
import worker from "../src/index";
import { context, env, request } from "./support";

// Node.js has no cache: a map does.
beforeEach(() => {
	const stored = new Map<string, Response>();
	vi.stubGlobal("caches", {
		default: {
			match: async (url: URL) => stored.get(url.href)?.clone(),
			put: async (url: URL, response: Response) => void stored.set(url.href, response),
		},
	});
});

async function get(path: string) {
	const after = context();
	const response = await worker.fetch(request(path), env(), after);
	await after.settled();
	return response;
}

describe("answers", () => {
	it("are made once", async () => {
		const first = await get("/a");
		const second = await get("/a");
		expect([first, second].map((response) => response.headers.get("X-Cache"))).toEqual(["miss", "hit"]);
		expect(await second.json()).toEqual(await first.json());
	});

	it("are kept apart by path", async () => {
		await get("/a");
		expect((await get("/b")).headers.get("X-Cache")).toBe("miss");
	});

	it("are for GET only", async () => {
		const response = await worker.fetch(request("/", { method: "POST" }), env(), context());
		expect(response.status).toBe(405);
	});
});
