import { describe, expect, it } from "vitest";
import worker from "../src/index.js";
import { context, env, request } from "./support.js";

describe("hello", () => {
	it("greets", async () => {
		const response = await worker.fetch(request("/"), env(), context());
		expect(response.status).toBe(200);
		expect(await response.text()).toBe("Hello World!");
	});
});
