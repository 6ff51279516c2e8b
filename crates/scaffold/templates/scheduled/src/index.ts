/**
 * A Worker that runs by the clock: `scheduled` is called at the times that `triggers.crons` in wrangler.jsonc names.
 *
 * In development the server calls it when you ask: curl "http://localhost:8787/cdn-cgi/handler/scheduled"
 *
 * https://developers.cloudflare.com/workers/configuration/cron-triggers/
 */

/** What to do when the time has come. */
async function tick(time: Date, cron: string): Promise<string> {
	// Fetch a page, clean up a database, send a report …
	return `${cron} at ${time.toISOString()}`;
}

export default {
	async scheduled(controller, env, ctx): Promise<void> {
		const report = await tick(new Date(controller.scheduledTime), controller.cron);
		console.log(`done: ${report}`);
	},

	// Requests are welcome too.
	async fetch(request, env, ctx): Promise<Response> {
		return new Response("This Worker runs by the clock: see triggers.crons in wrangler.jsonc.\n");
	},
} satisfies ExportedHandler<Env>;
