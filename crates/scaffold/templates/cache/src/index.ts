/**
 * An answer that is expensive to make is made once a minute, and otherwise comes from the cache.
 *
 * https://developers.cloudflare.com/workers/runtime-apis/cache/
 */
const SECONDS = 60;

/** What takes long: a slow API, a big computation … */
async function makeAnswer(url: URL): Promise<Response> {
	const body = { path: url.pathname, made: new Date().toISOString() };
	return Response.json(body, { headers: { "Cache-Control": `public, max-age=${SECONDS}` } });
}

export default {
	async fetch(request, env, ctx): Promise<Response> {
		if (request.method !== "GET") return new Response("only GET is allowed\n", { status: 405 });

		// The key: requests that differ only in headers share one answer.
		const url = new URL(request.url);
		const cache = caches.default;

		const cached = await cache.match(url);
		if (cached !== undefined) return withHeader(cached, "hit");

		const answer = await makeAnswer(url);
		// The client does not wait for this.
		ctx.waitUntil(cache.put(url, answer.clone()));
		return withHeader(answer, "miss");
	},
} satisfies ExportedHandler<Env>;

/** The same response, with a header that says where it came from. */
function withHeader(response: Response, cache: "hit" | "miss"): Response {
	const headers = new Headers(response.headers);
	headers.set("X-Cache", cache);
	return new Response(response.body, { status: response.status, headers });
}
