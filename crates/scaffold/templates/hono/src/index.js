/**
 * A Worker with the web framework Hono: https://hono.dev/docs/
 */
import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";

// `c.env` holds what wrangler.jsonc declares.
const app = new Hono();

// Runs around every handler.
app.use(async (c, next) => {
	const start = Date.now();
	await next();
	c.header("Server-Timing", `app;dur=${Date.now() - start}`);
});

app.get("/", (c) => c.text("Hello Hono!"));

app.get("/hello/:name", (c) => {
	const name = c.req.param("name");
	return c.json({ message: `Hello ${name}!` });
});

app.post("/echo", async (c) => {
	const body = await c.req.json().catch(() => {
		throw new HTTPException(400, { message: "the body is not JSON" });
	});
	return c.json(body);
});

app.notFound((c) => c.json({ error: `nothing is at ${c.req.path}` }, 404));

export default app;
