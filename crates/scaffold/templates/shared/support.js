// What the platform passes to a handler besides the request. The tests run in Node.js.

/** A request as a client sends it. */
export function request(path, init) {
	return new Request(new URL(path, "http://example.com"), init);
}

/** The bindings of wrangler.jsonc, as far as a test needs them. */
export function env(bindings = {}) {
	return bindings;
}

/** A context that remembers what the handler left to be done after the response. */
export function context() {
	const pending = [];
	return {
		waitUntil: (promise) => void pending.push(promise),
		passThroughOnException: () => {},
		/** Waits until all of it is done. */
		settled: () => Promise.all(pending),
	};
}
