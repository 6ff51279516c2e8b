import { describe, expect, it } from "vitest";
import worker from "../src/index";
import { request } from "./support";

function call(method: string, path: string, body?: unknown): Promise<Response> {
	return worker.fetch(request(path, { method, body: body === undefined ? undefined : JSON.stringify(body) }));
}

describe("notes", () => {
	it("are created, read and deleted", async () => {
		const created = await call("POST", "/notes", { text: "buy milk" });
		expect(created.status).toBe(201);
		const location = created.headers.get("Location") ?? "";

		expect(await (await call("GET", location)).json()).toMatchObject({ text: "buy milk" });
		expect(await (await call("GET", "/notes")).json()).toHaveLength(1);

		expect((await call("DELETE", location)).status).toBe(204);
		expect((await call("GET", location)).status).toBe(404);
	});

	it("need a text", async () => {
		expect((await call("POST", "/notes", {})).status).toBe(400);
	});
});

describe("everything else", () => {
	it("is not found", async () => {
		expect((await call("GET", "/nowhere")).status).toBe(404);
		expect((await call("PUT", "/notes")).status).toBe(404);
	});
});
