import { describe, expect, it } from "vitest";
import worker, { answer } from "../src/index.js";
import { request } from "./support.js";

describe("messages", () => {
	it("come back", () => {
		expect(answer("hi", new Date())).toBe("you said: hi");
	});

	it("may ask for the time", () => {
		expect(answer("time", new Date("2026-01-02T03:04:05Z"))).toBe("2026-01-02T03:04:05.000Z");
	});
});

describe("a request that is no WebSocket", () => {
	it("is told so", async () => {
		const response = await worker.fetch(request("/"));
		expect(response.status).toBe(426);
	});
});
