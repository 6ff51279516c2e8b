/**
 * A reverse proxy: /github/… goes to GitHub's API, with a header of ours, without a byte of the answer being held back.
 *
 * https://developers.cloudflare.com/workers/runtime-apis/fetch/
 */
const UPSTREAMS = {
	github: "https://api.github.com",
	npm: "https://registry.npmjs.org",
};

/** Where a path leads: its first segment names the upstream, the rest is asked of it. */
export function upstreamOf(url) {
	const [, name = "", rest = ""] = /^\/([^/]+)\/?(.*)$/.exec(url.pathname) ?? [];
	const upstream = Object.hasOwn(UPSTREAMS, name) ? UPSTREAMS[name] : undefined;
	return upstream === undefined ? undefined : new URL(`/${rest}${url.search}`, upstream);
}

export default {
	async fetch(request) {
		const upstream = upstreamOf(new URL(request.url));
		if (upstream === undefined) {
			return new Response(`try /${Object.keys(UPSTREAMS).join("/ or /")}/\n`, { status: 404 });
		}

		// The same method, headers and body, sent elsewhere. Cookies are for this host, not for that one.
		const forwarded = new Request(upstream, request);
		forwarded.headers.delete("Cookie");
		forwarded.headers.set("User-Agent", "a-worker");

		// The body is passed on as it arrives.
		const response = await fetch(forwarded);
		const headers = new Headers(response.headers);
		headers.set("X-Upstream", upstream.host);
		return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
	},
};
