/**
 * A Worker: `fetch` is called for every request.
 *
 * - `npm run dev` serves it at http://localhost:8787
 * - `npm run deploy` uploads it
 * - `npm run cf-typegen` writes the type `Env` again after a change of wrangler.jsonc
 *
 * https://developers.cloudflare.com/workers/
 */
export default {
	async fetch(request, env, ctx): Promise<Response> {
		return new Response("Hello World!");
	},
} satisfies ExportedHandler<Env>;
