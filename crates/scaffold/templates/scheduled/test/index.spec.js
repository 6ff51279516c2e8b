import { afterEach, describe, expect, it, vi } from "vitest";
import worker from "../src/index.js";
import { context, env, request } from "./support.js";

afterEach(() => {
	vi.restoreAllMocks();
});

describe("scheduled", () => {
	it("says which trigger it ran for", async () => {
		const log = vi.spyOn(console, "log").mockImplementation(() => {});
		const scheduledTime = Date.parse("2026-01-02T03:00:00Z");
		await worker.scheduled({ scheduledTime, cron: "0 * * * *", noRetry() {} }, env(), context());
		expect(log).toHaveBeenCalledWith("done: 0 * * * * at 2026-01-02T03:00:00.000Z");
	});
});

describe("fetch", () => {
	it("answers too", async () => {
		const response = await worker.fetch(request("/"), env(), context());
		expect(response.status).toBe(200);
	});
});
