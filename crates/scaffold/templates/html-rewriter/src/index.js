/**
 * Changes a page while it streams through: links to other sites open in a new tab, and a banner comes first.
 *
 * https://developers.cloudflare.com/workers/runtime-apis/html-rewriter/
 */
const ORIGIN = "https://example.com";

/** Marks links that lead away from a host. */
export class OutboundLinks {
	constructor(host) {
		this.host = host;
	}

	element(link) {
		const href = link.getAttribute("href");
		if (href === null) return;
		const page = `https://${this.host}`;
		if (!URL.canParse(href, page) || new URL(href, page).host === this.host) return;
		link.setAttribute("target", "_blank");
		link.setAttribute("rel", "noopener");
	}
}

/** Puts words at the beginning of an element. */
export class Banner {
	constructor(words) {
		this.words = words;
	}

	element(body) {
		// A text is escaped; pass { html: true } to insert markup that you trust.
		body.prepend(this.words);
	}
}

export default {
	async fetch(request) {
		const { pathname, search } = new URL(request.url);
		const page = await fetch(new URL(pathname + search, ORIGIN), request);

		return new HTMLRewriter()
			.on("a", new OutboundLinks(new URL(ORIGIN).host))
			.on("body", new Banner("This page went through a Worker. "))
			.transform(page);
	},
};
