import { afterEach, describe, expect, it, vi } from "vitest";
import worker, { upstreamOf } from "../src/index.js";
import { request } from "./support.js";

afterEach(() => {
	vi.unstubAllGlobals();
});

describe("paths", () => {
	it.each([
		["/github/repos/a/b?x=1", "https://api.github.com/repos/a/b?x=1"],
		["/npm", "https://registry.npmjs.org/"],
	])("%s leads to %s", (path, expected) => {
		expect(upstreamOf(new URL(path, "http://example.com"))?.href).toBe(expected);
	});

	it.each(["/", "/elsewhere/x", "/constructor/x"])("%s leads nowhere", (path) => {
		expect(upstreamOf(new URL(path, "http://example.com"))).toBeUndefined();
	});
});

describe("requests", () => {
	it("are sent on without cookies", async () => {
		const upstream = vi.fn(async (request) => Response.json({ cookie: request.headers.get("Cookie") }));
		vi.stubGlobal("fetch", upstream);
		const response = await worker.fetch(request("/npm/hono", { headers: { Cookie: "session=1" } }));
		expect(await response.json()).toEqual({ cookie: null });
		expect(response.headers.get("X-Upstream")).toBe("registry.npmjs.org");
	});
});
