// What the platform passes to a handler besides the request. The tests run in Node.js.

/** A request as a client sends it. */
export function request(path: string, init?: RequestInit) {
	return new Request<unknown, IncomingRequestCfProperties>(new URL(path, "http://example.com").href, init as RequestInit<IncomingRequestCfProperties>);
}

/** The bindings of wrangler.jsonc, as far as a test needs them. */
export function env(bindings: Partial<Env> = {}): Env {
	return bindings as Env;
}

/** A context that remembers what the handler left to be done after the response. */
export function context() {
	const pending: Promise<unknown>[] = [];
	const context = {
		waitUntil: (promise: Promise<unknown>) => void pending.push(promise),
		passThroughOnException: () => {},
		/** Waits until all of it is done. */
		settled: () => Promise.all(pending),
	};
	return context as unknown as ExecutionContext & { settled(): Promise<unknown[]> };
}
