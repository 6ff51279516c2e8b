import { describe, expect, it } from "vitest";
import app from "../src/index";
import { context, env, request } from "./support";

function call(path: string, init?: RequestInit) {
	return app.fetch(request(path, init), env(), context());
}

describe("the app", () => {
	it("greets", async () => {
		expect(await (await call("/")).text()).toBe("Hello Hono!");
		expect(await (await call("/hello/Ada")).json()).toEqual({ message: "Hello Ada!" });
	});

	it("returns what it is sent", async () => {
		const response = await call("/echo", { method: "POST", body: JSON.stringify([1, 2]) });
		expect(await response.json()).toEqual([1, 2]);
		expect((await call("/echo", { method: "POST", body: "not JSON" })).status).toBe(400);
	});

	it("says what it does not have", async () => {
		expect((await call("/nowhere")).status).toBe(404);
	});
});
