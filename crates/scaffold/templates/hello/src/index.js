/**
 * A Worker: `fetch` is called for every request.
 *
 * - `npm run dev` serves it at http://localhost:8787
 * - `npm run deploy` uploads it
 *
 * https://developers.cloudflare.com/workers/
 */
export default {
	async fetch(request, env, ctx) {
		return new Response("Hello World!");
	},
};
