import { describe, expect, it } from "vitest";
import { Banner, OutboundLinks } from "../src/index";

// Node.js has no HTMLRewriter: the handlers are tested with an element that only keeps what they do to it.
function element(attributes: Record<string, string>) {
	const changes = { ...attributes };
	const before: string[] = [];
	const element = {
		getAttribute: (name: string) => changes[name] ?? null,
		setAttribute: (name: string, value: string) => void (changes[name] = value),
		prepend: (text: string) => void before.push(text),
	};
	return { element: element as unknown as Element, changes, before };
}

describe("links", () => {
	const links = new OutboundLinks("example.com");

	it("to other sites open in a new tab", () => {
		const link = element({ href: "https://elsewhere.org/page" });
		links.element(link.element);
		expect(link.changes).toMatchObject({ target: "_blank", rel: "noopener" });
	});

	it.each(["/page", "https://example.com/page", "#top", "http://["])("to %s stay as they are", (href) => {
		const link = element({ href });
		links.element(link.element);
		expect(link.changes).toEqual({ href });
	});
});

describe("the banner", () => {
	it("comes first", () => {
		const body = element({});
		new Banner("hello").element(body.element);
		expect(body.before).toEqual(["hello"]);
	});
});
